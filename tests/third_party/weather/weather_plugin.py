"""What a stranger registers."""

from ldmkit.hookspecs import hookimpl

LDMKIT_API = 1


@hookimpl
def ldmkit_register(registry):
    registry.add("conditioner", "temperature", "weather_parts:Temperature", "Degrees as one token.")
    registry.add("sampler", "breeze", "weather_parts:breeze", "Deterministic steps with a gust of noise.")
