"""End-to-end tests of the engine: the real clients against the pretend estate over real HTTP."""
