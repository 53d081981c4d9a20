#!/usr/bin/env bash
# Prefect for allclear on this machine: `up` starts a server, a worker and its keeper, `down` stops exactly those, `env`
# prints what a shell needs so that `allclear recover` is recorded there. Everything it writes stands under
# ALLCLEAR_PREFECT_HOME. `keep` is the keeper: it starts another worker whenever the worker is gone.
set -euo pipefail
umask 077

here=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
home=${ALLCLEAR_PREFECT_HOME:-$here/var/prefect}
port=${ALLCLEAR_PREFECT_PORT:-4200}
bin=${ALLCLEAR_BIN:-$here/.venv/bin}
pool=allclear
worker=allclear-$(hostname)

secret() { # secret FILE COMMAND...: the file's text, made once by the command, readable by its owner only
    local file=$1
    shift
    if [ ! -s "$file" ]; then
        "$@" > "$file.new"
        mv "$file.new" "$file"
    fi
    cat "$file"
}

make_login() { "$bin/python" -c 'import secrets; print("allclear:" + secrets.token_urlsafe(24))'; }
make_key() { "$bin/python" -c 'import base64, os; print(base64.urlsafe_b64encode(os.urandom(32)).decode())'; }

settings() {
    mkdir -p "$home"
    chmod 700 "$home"
    login=$(secret "$home/login" make_login)
    key=$(secret "$home/block.key" make_key)
    url=http://127.0.0.1:$port/api
    client=(
        PREFECT_API_URL="$url"
        PREFECT_API_AUTH_STRING="$login"
        PREFECT_HOME="$home"
        ALLCLEAR_HOME="$here"
        PREFECT_WORKER_QUERY_SECONDS=2
        # The automation that ends abandoned runs (automations.toml) counts on this on every client: 3 beats, 90 s.
        PREFECT_FLOWS_HEARTBEAT_FREQUENCY=30
        DO_NOT_TRACK=1
        PREFECT_SERVER_ANALYTICS_ENABLED=false
    )
    server=(
        # By variable and not --port: the pages ask this setting where the API is.
        PREFECT_SERVER_API_HOST=127.0.0.1
        PREFECT_SERVER_API_PORT="$port"
        PREFECT_SERVER_API_AUTH_STRING="$login"
        PREFECT_SERVER_CSRF_PROTECTION_ENABLED=true
        PREFECT_SERVER_CORS_ALLOWED_ORIGINS="http://127.0.0.1:$port"
        # Without its own key Prefect keeps the key for block secrets in the same database as the secrets.
        PREFECT_SERVER_ENCRYPTION_KEY="$key"
        # SQLite answers 503 to a writer that lost a race; clients try again, and the reason stands in server.log.
        PREFECT_SERVER_LOG_RETRYABLE_ERRORS=true
        # A run a minute (watch) would fill the database; what was done stands in the ledger, not here. Kept 30 days.
        PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED=events,flow_runs
        PREFECT_SERVER_SERVICES_DB_VACUUM_RETENTION_PERIOD=2592000
        PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT=false
        PREFECT_SERVER_UI_STATIC_DIRECTORY="$home/ui"
    )
    if [ -n "${ALLCLEAR_PREFECT_DATABASE:-}" ]; then
        server+=(PREFECT_SERVER_DATABASE_CONNECTION_URL="$ALLCLEAR_PREFECT_DATABASE")
    fi
}

running() { # running NAME: whether the process of our pid file lives and is still what we started
    local file=$home/$1.pid words="prefect $1"
    [ "$1" != keeper ] || words="server.sh keep"
    [ -s "$file" ] && { tr '\0' ' ' < "/proc/$(cat "$file")/cmdline"; } 2> /dev/null | grep -qF "$words"
}

with() { # with COMMAND...: the command with the client's settings; exported, since an argument is seen by everyone
    (export "${client[@]}" && cd "$here" && exec "$@")
}

start() { # start NAME COMMAND...: in its own session, with a log and a pid file
    local name=$1
    shift
    (export "${client[@]}" && cd "$here" && exec setsid "$@") >> "$home/$name.log" 2>&1 < /dev/null &
    echo $! > "$home/$name.pid"
}

work() { # a worker, after the runs that a dead one left behind are ended
    with "$bin/python" -m flows.settle "$pool" "$worker"
    start worker "$bin/prefect" worker start --pool "$pool" --name "$worker" --limit 4
}

stop() { # stop NAME: asks, waits ten seconds, then insists
    local pid
    if running "$1"; then
        pid=$(cat "$home/$1.pid")
        kill -TERM "$pid" 2> /dev/null || true
        for _ in $(seq 100); do running "$1" && sleep 0.1 || break; done
        running "$1" && kill -KILL "$pid" 2> /dev/null || true
        echo "stopped the $1"
    fi
    rm -f "$home/$1.pid"
}

healthy() { "$bin/python" -c "import urllib.request as u; u.urlopen('$url/health', timeout=2)" 2> /dev/null; }

taken() { "$bin/python" -c "import socket; socket.create_connection(('127.0.0.1', $port), 2)" 2> /dev/null; }

wait_for_server() {
    for _ in $(seq 240); do
        healthy && return
        running server || break
        sleep 0.5
    done
    echo "The Prefect server did not start; its last words ($home/server.log):" >&2
    tail -n 20 "$home/server.log" >&2
    exit 1
}

deploy() {
    with "$bin/prefect" --no-prompt deploy --all > "$home/deploy.log" 2>&1 || {
        cat "$home/deploy.log" >&2
        exit 1
    }
    with "$bin/python" -m flows.automate
}

up() {
    settings
    local fresh=
    if running server; then
        echo "The server is already running."
    else
        fresh=yes
        if taken; then
            echo "Another program has port $port on this machine; set ALLCLEAR_PREFECT_PORT to a free one." >&2
            exit 1
        fi
        echo "Starting the Prefect server (up to a minute) ..."
        (export "${server[@]}" && start server "$bin/prefect" server start)
        wait_for_server
    fi
    # A worker may outlive its server, and a new server may have a new database.
    if [ -n "$fresh" ] || ! running worker; then
        with "$bin/prefect" --no-prompt work-pool create "$pool" --type process --overwrite > /dev/null
    fi
    deploy
    # While the keeper lives, the worker is its alone: two of one name would share the runs.
    running keeper || {
        running worker || work
        start keeper "$here/flows/server.sh" keep
    }
    echo "Prefect:  http://127.0.0.1:$port   name and password: $home/login"
    echo "Record what you run here:  eval \"\$(flows/server.sh env)\""
    echo "Stop it:  make down"
}

# A worker may be killed, and it ends by itself when a server refuses it: after the loss of the server's database
# Prefect's client may spend its last try on a token that the new server does not know (403).
keep() {
    settings
    local ended=
    # Never between the start of a worker and the note of its number.
    trap 'ended=yes' TERM
    while [ -z "$ended" ]; do
        if ! running worker && healthy; then
            echo "$(date -u +%FT%TZ) the worker is gone: another one starts"
            work || true
        fi
        sleep 5
    done
}

down() {
    settings
    stop keeper
    stop worker
    stop server
}

case ${1:-} in
    up) up ;;
    down) down ;;
    keep) keep ;;
    env)
        settings
        printf 'export %q\n' "${client[@]}"
        ;;
    *)
        echo "usage: flows/server.sh up|down|env" >&2
        exit 2
        ;;
esac
