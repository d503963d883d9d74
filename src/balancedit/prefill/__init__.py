"""Running what comes before the edited layer once: prompts and pictures seen before."""
