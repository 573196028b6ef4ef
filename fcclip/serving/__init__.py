"""One model serves many people: sessions, the HTTP interface and the web page."""
