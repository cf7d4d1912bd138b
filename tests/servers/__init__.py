"""Real servers for the tests, each started by the test session and gone with it."""
