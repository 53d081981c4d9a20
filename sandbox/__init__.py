"""The pretend estate: one server per remote system, each with its own journal, and the oracle that judges from the journals."""
