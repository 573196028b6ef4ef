"""One model serves many people: sessions, the HTTP interface and the web page."""

import os

os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"  # gradio reads it when it is imported
