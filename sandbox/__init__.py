"""The pretend estate: one server per remote system, a journal for each, and the oracle that judges from them."""
