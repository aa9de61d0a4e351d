import structlog
from hypothesis import settings

# A machine under load is no failure: the examples are the test, not their duration.
settings.register_profile("unit", deadline=None)
settings.load_profile("unit")

# As the operator logs: structlog's own default prints every local variable, which takes seconds for a deep spec.
structlog.configure(processors=[structlog.dev.ConsoleRenderer(exception_formatter=structlog.dev.plain_traceback)])
