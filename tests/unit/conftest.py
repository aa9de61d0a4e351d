from hypothesis import settings

# A machine under load is no failure: the examples are the test, not their duration.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")
