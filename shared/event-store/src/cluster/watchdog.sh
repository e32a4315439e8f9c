# Removes the shared test cluster when nobody has used it for a while (see shared.rs).
# Arguments: base folder, cluster's folder, data folder, socket folder, seconds without users.
# Standard input is the locked watchdog.lock: as long as this shell runs, there is no second one.
base=$1 folder=$2 data=$3 socket=$4 grace=$5
trap '' HUP INT

exec 9<>"$base/users.lock" || exit 1
inode=$(ls -i "$base/users.lock")

# Children must hold neither lock, else they would keep it beyond the end of this shell.
try_lock() {
    if command -v flock >/dev/null; then flock -n 9 </dev/null
    else perl -e 'open F, "+<&=9" or exit 2; exit !flock F, 2 | 4' </dev/null; fi
}
unlock() {
    if command -v flock >/dev/null; then flock -u 9 </dev/null
    else perl -e 'open F, "+<&=9" or exit 2; exit !flock F, 8' </dev/null; fi
}
server() {
    pid=$(head -n 1 "$data/postmaster.pid" 2>/dev/null) && [ -n "$pid" ] || return 1
    line=$({ tr '\0' ' ' <"/proc/$pid/cmdline" || ps -o command= -p "$pid"; } 2>/dev/null </dev/null)
    case $line in *"postgres -D $data "*) return 0 ;; *) return 1 ;; esac
}
end_server() { # signal, tenths of a second to wait
    server || return 0
    kill -s "$1" "$pid"
    waited=0
    while server; do
        [ "$waited" -lt "$2" ] || return 1
        sleep 0.1 </dev/null 9>&-
        waited=$((waited + 1))
    done
}

idle=0
while :; do
    sleep 1 </dev/null 9>&-
    # The folder was removed (`cargo clean`): a server ends by itself within a minute when its files are gone,
    # and whatever is there now belongs to another watchdog.
    [ "$(ls -i "$base/users.lock" 2>/dev/null)" = "$inode" ] || exit 0
    if try_lock; then
        idle=$((idle + 1))
        [ "$idle" -lt "$grace" ] || break
        unlock
    else
        idle=0
    fi
done

# The exclusive lock is ours: nobody uses the cluster, and whoever comes now waits.
end_server INT 50 || end_server QUIT 70 || end_server KILL 20
rm -rf "$socket" "$folder"
# In this order: who gets users.lock must find that there is no watchdog.
exec 0</dev/null
exec 9>&-
