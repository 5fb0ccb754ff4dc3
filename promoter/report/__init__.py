"""A page about what was deployed: figures of deliveries, charts, HTML. Facts in, text out; nothing is read here."""
