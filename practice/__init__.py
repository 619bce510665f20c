"""Write a message service of your own, in any language, and let the lab check it, break it and measure it."""
