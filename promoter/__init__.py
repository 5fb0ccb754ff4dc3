"""promoter: takes an MLflow model version to Kubernetes through Git and Argo CD, and keeps Git true."""

__version__ = "0.1.0"
