#!/bin/sh
# Draws the local overlay's secrets and certificates into overlays/local/secrets/ (git ignores it); what is there stays.
set -eu
umask 077
cd "$(dirname "$0")"
mkdir -p secrets
cd secrets

draw() { LC_ALL=C tr -dc 'A-Za-z0-9' < /dev/urandom | head -c "$1"; }
once() { [ -s "$1" ] || printf '%s' "$2" > "$1"; }

once token_keys "local:$(draw 43)"
once api_key "cb_$(draw 12 | tr 'A-Z' 'a-z')_$(draw 43)"
once postgres-password "$(draw 43)"
once redis-password "$(draw 43)"
once redis_url "redis://:$(cat redis-password)@redis:6379/0"
once redis.conf "requirepass $(cat redis-password)
dir /data
appendonly yes
"
for service in gateway inference recommender support; do
  once "$service-owner-password" "$(draw 43)"
  once "$service-service-password" "$(draw 43)"
  owner=$(cat "$service-owner-password") lesser=$(cat "$service-service-password")
  once "$service-database_owner_url" "postgresql://${service}_owner:$owner@postgres:5432/$service"
  once "$service-database_url" "postgresql://${service}_service:$lesser@postgres:5432/$service"
  # What PostgreSQL runs when its volume is empty: a database a service, its owner, and the role that serves from it.
  once "$service.sql" "CREATE ROLE ${service}_owner LOGIN PASSWORD '$owner';
CREATE ROLE ${service}_service LOGIN PASSWORD '$lesser';
CREATE DATABASE $service OWNER ${service}_owner;
REVOKE ALL ON DATABASE $service FROM PUBLIC;
GRANT CONNECT ON DATABASE $service TO ${service}_service;
"
done
exec ../make-certificates.sh
