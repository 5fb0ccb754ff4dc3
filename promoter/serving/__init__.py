"""The inference server that ships in the image: one MLflow model over HTTP. Imports nothing else of promoter."""
