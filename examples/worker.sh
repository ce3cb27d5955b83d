#!/bin/sh
# A worker with curl and jq: claims one task, starts it, completes it.
# The key in CROSSDOCK_API_KEY is a worker's or an operator's.
set -eu
api=${CROSSDOCK_URL:-http://127.0.0.1:8080}/api/v1

# call KEY ROUTE BODY: posts, and fails loudly; the key goes through stdin, where `ps` does not look.
call() {
    printf 'header = "Authorization: Bearer %s"\n' "$1" |
        curl -sS --fail-with-body -K - -H 'Content-Type: application/json' -d "$3" "$api/$2"
}

agent=$(call "$CROSSDOCK_API_KEY" agents/register '{"name": "curl"}')
key=$(printf %s "$agent" | jq -r .data.api_key)
id=$(printf %s "$agent" | jq -r .data.id)

task=
while [ -z "$task" ]; do # a 204 has no body: nothing came, ask again
    task=$(call "$key" tasks/claim "{\"agent_id\": \"$id\", \"wait_seconds\": 30}")
done
route=tasks/$(printf %s "$task" | jq -r .data.id)
lease=$(printf %s "$task" | jq -c '{lease_id: .data.lease_id}')

call "$key" "$route/start" "$lease" >/dev/null
result=$(printf %s "$task" | jq -c '{lease_id: .data.lease_id, output: (.data.input.text | ascii_upcase)}')
call "$key" "$route/complete" "$result" | jq -r '"\(.data.state): \(.data.output)"'

# Output:
# completed: HELLO, CROSSDOCK
