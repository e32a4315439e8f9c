#!/usr/bin/env bash
# Checks the chart without a cluster, and against the API of a real one.
#
#   k8s/check.sh            lint; a render of each of ci/*.yaml, held against Kubernetes' schemas; values that must be refused
#   k8s/check.sh apiserver  what is rendered, by a server-side dry run at a kube-apiserver started here (builds it: 6 minutes)
#
# Needs Go and Python; tools go to k8s/.tools. The second also needs etcd (Debian's etcd-server), openssl and kubectl.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")"

helm_version=v4.3.1
kubeconform_version=v0.8.0
# The oldest that the chart names, and the newest whose schemas are packed.
kubernetes_versions=(1.27.0 1.37.0)
apiserver_version=1.36.3
versions="$helm_version $kubeconform_version ${kubernetes_versions[*]} $apiserver_version"
tools=$PWD/.tools
export PATH=$tools:$PATH HELM_CONFIG_HOME=$tools/home HELM_CACHE_HOME=$tools/home HELM_DATA_HOME=$tools/home
passed=0

ok() {
    passed=$((passed + 1))
    echo "ok: $*"
}

fail() {
    echo "FAILED: $*" >&2
    echo "$passed passed, 1 failed"
    exit 1
}

install_tools() {
    command -v go >/dev/null || fail "Go is needed, to build helm and kubeconform"
    # Tools of other versions are not these.
    if [ "$(cat "$tools/versions" 2>/dev/null)" != "$versions" ]; then
        rm -rf "$tools"
        mkdir -p "$tools"
        echo "$versions" >"$tools/versions"
    fi
    [ -x "$tools/helm" ] || GOBIN=$tools CGO_ENABLED=0 go install "helm.sh/helm/v4/cmd/helm@$helm_version"
    [ -x "$tools/kubeconform" ] || GOBIN=$tools CGO_ENABLED=0 go install "github.com/yannh/kubeconform/cmd/kubeconform@$kubeconform_version"
    [ -d "$tools/schemas" ] || schemas
}

# Kubernetes' JSON schemas from a Python package, as kubeconform reads them: each document stands for itself.
schemas() {
    rm -rf "$tools/schemas.new"
    python3 -m venv "$tools/python"
    "$tools/python/bin/pip" install -q kubernetes-validate==1.37.0
    "$tools/python/bin/python" - "$tools/schemas.new" "${kubernetes_versions[@]}" <<'PYTHON'
import json, pathlib, sys
import kubernetes_validate

packed = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema"
for version in sys.argv[2:]:
    target = pathlib.Path(sys.argv[1]) / f"v{version}"
    target.mkdir(parents=True)
    for file in (packed / f"v{version}-local-strict").glob("*.json"):
        schema = json.loads(file.read_text())
        schema.pop("$id", None)
        text = json.dumps(schema).replace("/api/_definitions.json#", "_definitions.json#")
        (target / file.name).write_text(text)
PYTHON
    mv "$tools/schemas.new" "$tools/schemas"
}

render() {
    helm template annomesh . --namespace annomesh --kube-version "${2:-1.37.0}" --values "$1"
}

# refused WHY ARGS…: the chart must refuse these values, and say why.
refused() {
    local why=$1 said
    shift
    if said=$(helm template annomesh . --values ci/bundled.yaml "$@" 2>&1); then fail "accepted: $*"; fi
    grep -q -- "$why" <<<"$said" || fail "$* was refused for another reason than $why: $said"
    ok "refused: $*"
}

check() {
    install_tools
    local values version out
    for values in ci/*.yaml; do
        out=$(helm lint --strict . --values "$values" 2>&1) || fail "helm lint, $values: $out"
        ok "helm lint, $values"
        for version in "${kubernetes_versions[@]}"; do
            out=$(render "$values" "$version") || fail "helm template, $values"
            out=$(kubeconform -strict -summary -kubernetes-version "$version" \
                -schema-location "$tools/schemas/{{.NormalizedKubernetesVersion}}/{{.ResourceKind}}{{.KindSuffix}}.json" <<<"$out" 2>&1) ||
                fail "kubeconform $version, $values: $out"
            ok "kubeconform $version, $values: $out"
        done
    done
    refused "existingSecret" --set existingSecret=
    refused "nothingKnown" --set nothingKnown=1
    refused "replica" --set services.projects.replica=2
    refused "newcomer" --set services.newcomer.replicas=1
    refused "routing" --set ingress.routing=elsewhere
    refused "1.27" --kube-version 1.26.0
}

apiserver() {
    install_tools
    if [ ! -x "$tools/kube-apiserver" ]; then build_apiserver; fi
    command -v etcd >/dev/null || fail "etcd is needed (Debian: etcd-server)"
    local run out values
    run=$(mktemp -d)
    # Removed with what runs in it, however this ends.
    # shellcheck disable=SC2064
    trap "kill -9 \$(jobs -p) 2>/dev/null || true; rm -rf '$run'" EXIT
    openssl genrsa -out "$run/sa.key" 2048 2>/dev/null
    openssl req -x509 -newkey rsa:2048 -nodes -keyout "$run/tls.key" -out "$run/tls.crt" -days 1 -subj /CN=127.0.0.1 \
        -addext subjectAltName=IP:127.0.0.1 2>/dev/null
    echo 'secret-of-this-run,admin,1,system:masters' >"$run/tokens"
    etcd --data-dir "$run/etcd" --listen-client-urls http://127.0.0.1:12379 --advertise-client-urls http://127.0.0.1:12379 \
        --listen-peer-urls http://127.0.0.1:12380 --initial-advertise-peer-urls http://127.0.0.1:12380 \
        --initial-cluster default=http://127.0.0.1:12380 >"$run/etcd.log" 2>&1 &
    "$tools/kube-apiserver" --etcd-servers=http://127.0.0.1:12379 --bind-address=127.0.0.1 --secure-port=16443 \
        --tls-cert-file="$run/tls.crt" --tls-private-key-file="$run/tls.key" --token-auth-file="$run/tokens" \
        --service-account-issuer=https://127.0.0.1 --service-account-key-file="$run/sa.key" \
        --service-account-signing-key-file="$run/sa.key" --authorization-mode=RBAC --service-cluster-ip-range=10.0.0.0/24 \
        --disable-admission-plugins=ServiceAccount >"$run/apiserver.log" 2>&1 &
    kube() {
        kubectl --kubeconfig /dev/null --server https://127.0.0.1:16443 --certificate-authority "$run/tls.crt" \
            --token secret-of-this-run "$@"
    }
    local waited=0
    until kube get --raw /readyz >/dev/null 2>&1; do
        waited=$((waited + 1))
        [ "$waited" -lt 120 ] || { tail -n 5 "$run/apiserver.log"; fail "the kube-apiserver does not answer"; }
        sleep 0.5
    done
    kube create namespace annomesh >/dev/null
    # The strictest of Kubernetes' own rules for pods.
    kube label namespace annomesh pod-security.kubernetes.io/enforce=restricted pod-security.kubernetes.io/warn=restricted >/dev/null
    for values in ci/*.yaml; do
        render "$values" "$apiserver_version" >"$run/objects.yaml"
        out=$(kube apply --namespace annomesh --server-side --dry-run=server --validate=strict --filename "$run/objects.yaml" 2>&1) ||
            fail "server-side dry run, $values: $out"
        if grep -iE '^warning|^error' <<<"$out"; then fail "server-side dry run, $values: see above"; fi
        ok "server-side dry run at Kubernetes $apiserver_version, $values: $(wc -l <<<"$out") objects"
    done
}

# From the Go module proxy; its parts are named by path in its own go.mod, and by version here.
build_apiserver() {
    local source module=$tools/apiserver
    mkdir -p "$module"
    source=$(cd "$module" && go mod download -json "k8s.io/kubernetes@v$apiserver_version" | sed -n 's/.*"Dir": "\(.*\)",*/\1/p')
    {
        printf 'module apiserver\n\ngo 1.26\n\nrequire k8s.io/kubernetes v%s\n\n' "$apiserver_version"
        awk -v version="v0.${apiserver_version#1.}" '/=> \.\/staging\// {print "replace " $1 " => " $1 " " version}' "$source/go.mod"
    } >"$module/go.mod"
    printf '//go:build tools\n\npackage tools\n\nimport _ "k8s.io/kubernetes/cmd/kube-apiserver/app"\n' >"$module/tools.go"
    (cd "$module" && go mod tidy && CGO_ENABLED=0 go build -o "$tools/kube-apiserver" k8s.io/kubernetes/cmd/kube-apiserver)
}

case ${1:-check} in
    check) check ;;
    apiserver) apiserver ;;
    *) echo "k8s/check.sh [apiserver]" >&2; exit 2 ;;
esac
echo "$passed passed, 0 failed"
