"""One module and one client class per remote system, all on the transport in `integrations.http`."""
