"""What a stranger registers."""

from ldmkit.hookspecs import hookimpl

LDMKIT_API = 2


@hookimpl
def ldmkit_register(registry):
    registry.add("conditioner", "temperature", "weather_parts:Temperature", "Degrees as one token.")
    registry.add("sampler", "breeze", "weather_parts:breeze", "Deterministic steps with a gust of noise.")
    registry.add("data", "skies", "weather_training:Skies", "Sixteen skies.")
    registry.add("denoiser", "winds", "weather_training:Winds", "Two convolutions.")
    registry.add("keymap", "compvis/winds", "weather_keys:WindsKeys", "Winds in the paper's single file.")
    registry.add("optimizer", "nudge", "weather_training:Nudge", "Steps by the sign of an average.")
    registry.add("callback", "barometer", "weather_training:Barometer", "Counts what it sees.")
    registry.add("adapter", "gain", "weather_training:Gain", "Factors of a layer's channels.")
    registry.add("verb", "forecast", "weather_training:forecast", "Say what degrees mean.")
    registry.add("recipe", "skies", "weather_recipes/skies.yaml", "Skies by temperature.")
