UNIT=ringmaster.service
PIDFILE=/run/ringmaster/ringmaster.pid

# Prints the pid of the one that runs. The pid file is not root's: it is believed if that process is our program.
running() {
	[ -r "$PIDFILE" ] || return 1
	main=
	# The last line may have no end.
	read -r main < "$PIDFILE" || true
	case "$main" in '' | *[!0-9]*) return 1 ;; esac
	case "$(readlink "/proc/$main/exe")" in
	# In a mount namespace of its own it may be seen with more in front.
	*/usr/bin/ringmaster | *"/usr/bin/ringmaster (deleted)") echo "$main" ;;
	*) return 1 ;;
	esac
}

under_systemd() {
	[ -d /run/systemd/system ]
}

helper() {
	if command -v deb-systemd-helper > /dev/null; then deb-systemd-helper "$@"; fi
}
