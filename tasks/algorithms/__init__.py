"""Pure and cited: no storage, no network, no clock."""
