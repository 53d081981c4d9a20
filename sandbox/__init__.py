"""The pretend estate: one server per remote system with a journal each, and the oracle that judges from the journals."""
