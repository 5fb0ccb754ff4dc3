"""promoter against a live Kubernetes with Argo CD and Argo Rollouts: real canaries, real aborts, real traffic counted."""
