"""What a person sees: the home's own MQTT topics, the page, the terminal."""
