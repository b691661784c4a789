#!/usr/bin/env bash
# Makes what must not be committed: a certificate, an API key for each client, Grafana's
# password. What is there already is left alone.
#
#   ./make_secrets.sh [HOST] [CLIENT ...]
#
# HOST is the name, or the IP address, that clients call (localhost); the certificate is
# signed by itself: for the world, put one of a real authority in its place. To withdraw or add an API key,
# edit a copy of secrets/envoy/api_keys.yaml and `mv` it over the file: Envoy takes it up
# without a restart, and it looks for renames only.
set -euo pipefail
umask 077
cd "$(dirname "$0")"
secrets="${SECRETS_DIR:-secrets}"
host="${1:-localhost}"
shift || true
clients=("${@:-client}")

# Clients look for an address among the certificate's addresses, not among its names.
case "$host" in
  *:*) names="IP:$host" ;;
  *[!0-9.]*) names="DNS:$host" ;;
  *) names="IP:$host" ;;
esac

mkdir -p "$secrets/envoy"
# Containers run as user 1000, who is somebody else: the folder above keeps others out.
chmod 700 "$secrets"
chmod 755 "$secrets/envoy"

if [ ! -e "$secrets/envoy/tls.crt" ]; then
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 365 \
    -subj "/CN=$host" -addext "subjectAltName=$names" \
    -keyout "$secrets/envoy/tls.key" -out "$secrets/envoy/tls.crt" 2>/dev/null
fi
if [ ! -e "$secrets/envoy/api_keys.yaml" ]; then
  {
    echo 'resources:'
    echo '- "@type": type.googleapis.com/envoy.config.core.v3.TypedExtensionConfig'
    echo '  name: api_keys'
    echo '  typed_config:'
    echo '    "@type": type.googleapis.com/envoy.extensions.filters.http.api_key_auth.v3.ApiKeyAuth'
    echo '    key_sources: [{header: x-api-key}]'
    echo '    # The server behind learns who it is, not with which key.'
    echo '    forwarding: {header: x-client, hide_credentials: true}'
    echo '    credentials:'
    for client in "${clients[@]}"; do
      # In quotes: digits alone would be read as a number.
      echo "    - {client: $client, key: \"$(openssl rand -hex 32)\"}"
    done
  } > "$secrets/envoy/api_keys.yaml.new"
  mv "$secrets/envoy/api_keys.yaml.new" "$secrets/envoy/api_keys.yaml"
fi
if [ ! -e "$secrets/grafana_password" ]; then
  openssl rand -base64 18 > "$secrets/grafana_password"
fi
chmod 644 "$secrets"/envoy/* "$secrets/grafana_password"
echo "$secrets: certificate for $host; API keys in envoy/api_keys.yaml; Grafana's" \
  "user admin has the password in grafana_password"
