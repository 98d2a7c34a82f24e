"""Checks the manifests of a directory: check.py DIRECTORY KAFKA_TOML. A line for each finding, and 1 if there is any; else the
arguments that containers give to the program, as a JSON list a line.

Objects of Kubernetes are judged by its own schemas, with no member that these do not know. The schemas of Kustomize and KEDA are
not among them: their objects are judged here. Beyond schemas: what names something names what is there."""

import functools
import json
import pathlib
import sys

import kubernetes_validate
import yaml

try:
    import tomllib
except ImportError:  # before Python 3.11
    from pip._vendor import tomli as tomllib

# The oldest has `preStop.sleep` by default; the newest is the newest that the validator knows.
VERSIONS = ["1.30", kubernetes_validate.latest_version()]
ROLES = {"collect", "enrich", "sessions", "lookup"}
WORKLOADS = {"Deployment", "StatefulSet"}

# It would read all definitions anew for every object.
kubernetes_validate.utils.schema_contents = functools.cache(kubernetes_validate.utils.schema_contents)

findings = []


class Loader(yaml.SafeLoader):
    """As the safe one, but a member that is there twice is an error: of two, Kubernetes takes one."""

    def construct_mapping(self, node, deep=False):
        keys = [key.value for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.YAMLError(f"`{key}` is there twice in line {node.start_mark.line + 1}")
        return super().construct_mapping(node, deep)


class Thing:
    """An object, and where it stands."""

    def __init__(self, file, data):
        self.file, self.data = file, data
        self.kind = data.get("kind", "")
        self.metadata = data.get("metadata") or {}
        self.name = self.metadata.get("name", "")
        self.spec = data.get("spec") or {}

    def found(self, what):
        findings.append(f"{self.file}: {self.kind} {self.name}: {what}")

    def pod(self):
        return self.spec["template"]["spec"]

    def labels(self):
        return self.spec["template"]["metadata"]["labels"]


def of_kubernetes(thing):
    for version in VERSIONS:
        try:
            kubernetes_validate.validate(thing.data, version, strict=True)
        except kubernetes_validate.ValidationError as e:
            thing.found(f"{'.'.join(map(str, e.path))}: {e.message} ({version})")
            return
        except kubernetes_validate.SchemaNotFoundError as e:
            thing.found(e.message)
            return


def members(thing, where, data, required, optional=()):
    """Whether this has all of one, and nothing that is in neither."""
    if not isinstance(data, dict):
        return thing.found(f"{where}: it is no table")
    for name in set(required) - set(data):
        thing.found(f"{where}: `{name}` is missing")
    for name in set(data) - set(required) - set(optional):
        thing.found(f"{where}: there is no `{name}`")


def of_kustomize(thing, directory):
    top = ["apiVersion", "kind", "resources", "images", "configMapGenerator"]
    members(thing, "top", thing.data, top)
    if thing.data.get("apiVersion") != "kustomize.config.k8s.io/v1beta1":
        thing.found("apiVersion is not kustomize.config.k8s.io/v1beta1")
    for image in thing.data.get("images") or []:
        members(thing, "images", image, ["name"], ["newName", "newTag", "digest"])
    files = list(thing.data.get("resources") or [])
    for generator in thing.data.get("configMapGenerator") or []:
        members(thing, "configMapGenerator", generator, ["name", "files"])
        files += generator.get("files") or []
    for name in files:
        if not (directory / name).is_file():
            thing.found(f"there is no {name}")
    if {"hpa.yaml", "keda.yaml"} <= set(files):
        thing.found("hpa.yaml and keda.yaml scale the same: one of them")


def of_keda(thing, kafka):
    members(thing, "top", thing.data, ["apiVersion", "kind", "metadata", "spec"])
    if thing.kind == "TriggerAuthentication":
        members(thing, "spec", thing.spec, ["secretTargetRef"])
        for ref in thing.spec.get("secretTargetRef") or []:
            members(thing, "spec.secretTargetRef", ref, ["parameter", "name", "key"])
            known = {"sasl", "username", "password", "tls", "ca", "cert", "key", "keyPassword"}
            if ref.get("parameter") not in known:
                thing.found(f"the trigger kafka has no parameter `{ref.get('parameter')}`")
        return
    if thing.kind != "ScaledObject":
        return thing.found("of KEDA only ScaledObject and TriggerAuthentication are known here")
    counts = ["minReplicaCount", "maxReplicaCount", "pollingInterval"]
    members(thing, "spec", thing.spec, ["scaleTargetRef", "triggers"], [*counts, "advanced", "cooldownPeriod"])
    for name in counts:
        if not isinstance(thing.spec.get(name, 0), int):
            thing.found(f"spec.{name} is no number")
    members(thing, "spec.scaleTargetRef", thing.spec.get("scaleTargetRef"), ["name"], ["apiVersion", "kind"])
    advanced = thing.spec.get("advanced", {})
    members(thing, "spec.advanced", advanced, [], ["horizontalPodAutoscalerConfig"])
    config = advanced.get("horizontalPodAutoscalerConfig", {})
    members(thing, "spec.advanced.horizontalPodAutoscalerConfig", config, [], ["name", "behavior"])
    # What it says of behaviour is Kubernetes' own.
    scaler = {"apiVersion": "autoscaling/v2", "kind": "HorizontalPodAutoscaler", "metadata": {"name": thing.name}}
    spec = {"scaleTargetRef": {"kind": "x", "name": "x"}, "maxReplicas": 1, "behavior": config.get("behavior", {})}
    of_kubernetes(Thing(thing.file, {**scaler, "spec": spec}))
    for trigger in thing.spec.get("triggers") or []:
        members(thing, "spec.triggers", trigger, ["type", "metadata"], ["name", "authenticationRef", "metricType"])
        if trigger.get("type") != "kafka":
            thing.found(f"a trigger of type `{trigger.get('type')}` is not known here")
        said = trigger.get("metadata") or {}
        optional = ["activationLagThreshold", "offsetResetPolicy", "allowIdleConsumers", "excludePersistentLag", "version"]
        required = ["bootstrapServers", "consumerGroup", "topic", "lagThreshold"]
        members(thing, "spec.triggers.metadata", said, required, [*optional, "sasl", "username", "tls"])
        for name, value in said.items():
            if not isinstance(value, str):
                thing.found(f"spec.triggers.metadata.{name} is no text, and KEDA takes texts only")
        want = {
            "bootstrapServers": kafka["brokers"],
            "consumerGroup": f"{kafka['prefix']}enrich",
            "topic": f"{kafka['prefix']}raw",
            "username": kafka["properties"]["sasl.username"],
            "sasl": kafka["properties"]["sasl.mechanism"].lower().replace("-sha-", "_sha"),
        }
        for name, value in want.items():
            if said.get(name) != value:
                thing.found(f"{name} is {said.get(name)}, and by the configuration {value}")


def references(things, config):
    workloads = {thing.name: thing for thing in things if thing.kind in WORKLOADS}
    secrets = {thing.name: set(thing.data.get("stringData") or {}) for thing in things if thing.kind == "Secret"}
    accounts = {thing.name for thing in things if thing.kind == "ServiceAccount"}
    maps = {
        generator["name"]: set(generator["files"])
        for thing in things
        if thing.kind == "Kustomization"
        for generator in thing.data.get("configMapGenerator") or []
    }
    threads = config["enrich"]["workers"]
    most = -(-config["data"]["partitions"] // threads)

    def selects(thing, selector):
        if not any(selector.items() <= workload.labels().items() for workload in workloads.values()):
            thing.found(f"no pods have {selector}")

    disrupted = []
    for thing in things:
        if "namespace" in thing.metadata:
            thing.found("it names a namespace: whoever applies it does")
        if thing.kind == "Service":
            selects(thing, thing.spec["selector"])
        if thing.kind == "PodDisruptionBudget":
            selector = thing.spec["selector"]["matchLabels"]
            selects(thing, selector)
            disrupted += [name for name, of in workloads.items() if selector.items() <= of.labels().items()]
        if thing.kind == "NetworkPolicy":
            selects(thing, thing.spec["podSelector"]["matchLabels"])
        if thing.kind in {"HorizontalPodAutoscaler", "ScaledObject"}:
            target = thing.spec["scaleTargetRef"]
            scaled = workloads.get(target["name"])
            if scaled is None or scaled.kind != target.get("kind"):
                thing.found(f"there is no {target.get('kind')} {target['name']}")
            elif scaled.kind == "StatefulSet" and (thing.spec.get("maxReplicas") or thing.spec["maxReplicaCount"]) > most:
                thing.found(f"more than {most} pods have no partition for each of their threads")
        if thing.kind == "TriggerAuthentication":
            for ref in thing.spec["secretTargetRef"]:
                if ref["key"] not in secrets.get(ref["name"], set()):
                    thing.found(f"there is no {ref['key']} in a secret {ref['name']}")
        if thing.kind in WORKLOADS:
            pods(thing, secrets, maps, accounts)
    for name, workload in workloads.items():
        if disrupted.count(name) != 1:
            workload.found(f"{disrupted.count(name)} PodDisruptionBudgets are for it")
    needed = set(variables(config))
    if needed - secrets.get("ouzel", set()):
        findings.append(f"secret.example.yaml: ouzel.toml takes {sorted(needed)} from the environment")


def variables(value):
    """The names of all `{ env = "NAME" }`."""
    if isinstance(value, dict):
        if set(value) == {"env"}:
            yield value["env"]
        for inner in value.values():
            yield from variables(inner)
    if isinstance(value, list):
        for inner in value:
            yield from variables(inner)


def pods(thing, secrets, maps, accounts):
    pod = thing.pod()
    if not thing.spec["selector"]["matchLabels"].items() <= thing.labels().items():
        thing.found("it does not select its own pods")
    if pod.get("serviceAccountName") not in accounts:
        thing.found(f"there is no ServiceAccount {pod.get('serviceAccountName')}")
    if pod.get("securityContext", {}).get("runAsNonRoot") is not True:
        thing.found("it may run as root")
    files = set()
    volumes = {volume["name"] for volume in pod["volumes"]}
    for volume in pod["volumes"]:
        for source in volume.get("projected", {}).get("sources", []):
            if "configMap" in source:
                files |= maps.get(source["configMap"]["name"], set())
            for item in source.get("secret", {}).get("items", []):
                if item["key"] not in secrets.get(source["secret"]["name"], set()):
                    thing.found(f"there is no {item['key']} in a secret {source['secret']['name']}")
                files.add(item["path"])
    for container in pod["containers"]:
        context = container.get("securityContext", {})
        if context.get("allowPrivilegeEscalation") is not False or context.get("readOnlyRootFilesystem") is not True:
            thing.found("its container may change itself or become another")
        if context.get("capabilities", {}).get("drop") != ["ALL"]:
            thing.found("its container keeps capabilities")
        if not {"cpu", "memory"} <= set(container.get("resources", {}).get("requests", {})):
            thing.found("it does not say what it needs")
        ports = {port["name"] for port in container["ports"]}
        paths = {"startupProbe": "/healthz", "livenessProbe": "/healthz", "readinessProbe": "/readyz"}
        for probe, path in paths.items():
            get = container.get(probe, {}).get("httpGet", {})
            if get.get("path") != path or get.get("port") not in ports:
                thing.found(f"its {probe} is not {path} at one of its ports")
        for mount in container["volumeMounts"]:
            if mount["name"] not in volumes:
                thing.found(f"there is no volume {mount['name']}")
        for source in container.get("envFrom", []):
            if source["secretRef"]["name"] not in secrets:
                thing.found(f"there is no secret {source['secretRef']['name']}")
        args = container["args"]
        roles = set(args[args.index("--roles") + 1].split(","))
        if not roles <= ROLES:
            thing.found(f"there are no roles {sorted(roles - ROLES)}")
        if thing.kind != "StatefulSet" and roles != {"lookup"} and "--slot" not in args:
            thing.found("its pods have no ordinal, so --slot is needed")
        if not any(args[args.index("--config") + 1].endswith(f"/{name}") for name in files):
            thing.found("its configuration is in no volume")
        print(json.dumps(args))


def main():
    directory, kafka_toml = pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2])
    config = tomllib.loads(kafka_toml.read_text())
    if (directory / "ouzel.toml").read_text() != kafka_toml.read_text():
        findings.append(f"ouzel.toml is not {kafka_toml.name}: copy it")
    things = []
    for path in sorted(directory.glob("*.yaml")):
        try:
            things += [Thing(path.name, data) for data in yaml.load_all(path.read_text(), Loader=Loader)]
        except yaml.YAMLError as e:
            findings.append(f"{path.name}: {' '.join(str(e).split())}")
    for thing in things:
        group = str(thing.data.get("apiVersion")).split("/")[0]
        if group == "kustomize.config.k8s.io":
            of_kustomize(thing, directory)
        elif group == "keda.sh":
            of_keda(thing, config["kafka"])
        else:
            of_kubernetes(thing)
    # What is not by its schema is not looked into.
    if not findings:
        references(things, config)
    for finding in findings:
        print(finding)
    return 1 if findings else 0


sys.exit(main())
