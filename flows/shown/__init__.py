"""What people see of a run in Prefect's UI: its name, its plan, the gate's verdict, pictures, where everything lies."""
