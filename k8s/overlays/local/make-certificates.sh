#!/bin/sh
# Draws, into overlays/local/secrets/ (git ignores it), an authority and a certificate for each service and the operator;
# what is there stays. They are for k8s/components/tls. The authority's key stays here: no pod has it.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

key() { openssl ecparam -name prime256v1 -genkey -noout | openssl pkcs8 -topk8 -nocrypt -out "$1.key"; }

names='gateway recommender support inference load operator'
if ! [ -s ca.crt ]; then
  for name in $names; do rm -f "$name.crt"; done # another authority's
  key ca
  openssl req -x509 -new -key ca.key -sha256 -days 3650 -out ca.crt -config /dev/stdin <<EOF
[req]
prompt = no
distinguished_name = name
x509_extensions = authority
[name]
CN = Casebook local
[authority]
basicConstraints = critical, CA:TRUE, pathlen:0
keyUsage = critical, keyCertSign, cRLSign
subjectKeyIdentifier = hash
EOF
fi

# A server is called by its Service's name; all of them call others, so each certificate serves both ends.
for name in $names; do
  [ -s "$name.crt" ] && continue
  key "$name"
  openssl req -new -key "$name.key" -subj "/CN=$name" -out "$name.csr"
  openssl x509 -req -in "$name.csr" -CA ca.crt -CAkey ca.key -set_serial "0x$(openssl rand -hex 16)" -sha256 -days 365 \
    -out "$name.crt" -extfile /dev/stdin 2> /dev/null <<EOF
basicConstraints = critical, CA:FALSE
keyUsage = critical, digitalSignature
extendedKeyUsage = serverAuth, clientAuth
subjectAltName = DNS:$name, DNS:$name.casebook, DNS:$name.casebook.svc, DNS:$name.casebook.svc.cluster.local
EOF
  rm "$name.csr"
done
