#!/usr/bin/env bash
# A Ray cluster of one node on this machine, for the tests in this folder, which start it themselves:
#     tests/beyond/ray_head.sh FOLDER [CPUS]     prints "RAY_AUTH_MODE=... RAY_ADDRESS=...", stays until it is ended
# In another terminal, with these two:  RAY_... python -m eat_lightning.train -m ... hydra/launcher=ray
set -euo pipefail
folder=$(realpath -m "${1:?a folder for its files, with a short path: sockets lie in it}") cpus=${2:-$(nproc)}
port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
export RAY_AUTH_MODE=disabled  # whatever token Ray has made for this user before
# On a busy machine what is slow must not be taken for dead.
export RAY_SERVE_PROXY_HEALTH_CHECK_TIMEOUT_S=300 RAY_SERVE_PROXY_READY_CHECK_TIMEOUT_S=300

begin() { # 0 where it runs
  ray start --head --block --node-ip-address=127.0.0.1 --port="$port" --num-cpus="$cpus" \
    --include-dashboard=false --disable-usage-stats --object-store-memory=100000000 \
    --temp-dir="$folder" >"$folder.log" 2>&1 &
  head=$!
  until grep -q "Ray runtime started" "$folder.log"; do
    kill -0 $head 2>/dev/null || return 1
    sleep 0.2
  done
}
trap 'kill $head 2>/dev/null; wait $head' EXIT INT TERM
# Ray gives a node 30 seconds to start, which a busy machine may need more than once.
begin || begin || begin || { cat "$folder.log" >&2; exit 1; }
echo "RAY_AUTH_MODE=$RAY_AUTH_MODE RAY_ADDRESS=127.0.0.1:$port"
wait $head
