# promoter itself, to run it in a cluster (docs/in-cluster.md): docker build --tag promoter .
ARG PYTHON_IMAGE=python:3.11-slim
ARG KUSTOMIZE_IMAGE=registry.k8s.io/kustomize/kustomize:v5.8.1

FROM ${KUSTOMIZE_IMAGE} AS kustomize

FROM ${PYTHON_IMAGE} AS build
COPY . /source
# Compiled here: at run time the modules' folder is read-only.
RUN EXTRAS="azure github-app mlflow report runtime" /source/.ci/install /opt/promoter && python3 -m compileall -q /opt/promoter/lib

FROM ${PYTHON_IMAGE}
RUN apt-get update -qq && apt-get install -qq -y --no-install-recommends ca-certificates git gpgv && rm -rf /var/lib/apt/lists/*
COPY --from=kustomize /app/kustomize /usr/local/bin/kustomize
COPY --from=build /opt/promoter /opt/promoter
ENV PATH=/opt/promoter/bin:$PATH HOME=/tmp PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
ENTRYPOINT ["promoter"]
