# bash completion of ringmaster
_ringmaster() {
  local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD-1]} command=
  COMPREPLY=()
  case ${COMP_WORDS[1]} in
    route|plan|compare|reload|top|tap|health|upgrade|demo|schema|password|completions|man) ((COMP_CWORD > 1)) && command=${COMP_WORDS[1]} ;;
  esac
  # --flag=value comes as three words.
  if [[ $word == = ]]; then word=; elif [[ $before == = ]]; then before=${COMP_WORDS[COMP_CWORD-2]}; fi
  case "$command $before" in
    " -v"|" --verbose") :; return ;;
    " -o"|" --output") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    " -c"|" --conf-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    " -s"|" --stats-port") :; return ;;
    " -a"|" --stats-addr") :; return ;;
    " -i"|" --stats-interval") :; return ;;
    " -p"|" --pid-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    " -m"|" --mbuf-size") :; return ;;
    " --workers") :; return ;;
    " --log-format") COMPREPLY=($(compgen -W "text json" -- "$word")); return ;;
    " --admin") :; return ;;
    " --listen") :; return ;;
    "route -c"|"route --conf-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "route --admin") :; return ;;
    "route --token-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "route --ca-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "route --cert-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "route --key-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "route --pool") :; return ;;
    "route --ejected") :; return ;;
    "plan --pool") :; return ;;
    "plan --keys") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "plan --svg") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --pool") :; return ;;
    "compare --old-at") :; return ;;
    "compare --new-at") :; return ;;
    "compare --keys") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --count") :; return ;;
    "compare --rate") :; return ;;
    "compare --show") :; return ;;
    "compare --user") :; return ;;
    "compare --password-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --ca") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --record") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --replay") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare -c"|"compare --conf-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --admin") :; return ;;
    "compare --token-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --ca-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --cert-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "compare --key-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "reload -p"|"reload --pid-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "top -c"|"top --conf-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "top --admin") :; return ;;
    "top --token-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "top --ca-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "top --cert-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "top --key-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "top --pool") :; return ;;
    "tap -c"|"tap --conf-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "tap --admin") :; return ;;
    "tap --token-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "tap --ca-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "tap --cert-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "tap --key-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "tap --pool") :; return ;;
    "tap --key") :; return ;;
    "tap --command") :; return ;;
    "tap --client") :; return ;;
    "tap --rate") :; return ;;
    "tap --count") :; return ;;
    "health -c"|"health --conf-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "health --admin") :; return ;;
    "health --token-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "health --ca-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "health --cert-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "health --key-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
    "upgrade -p"|"upgrade --pid-file") compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); return ;;
  esac
  case $command in
    "") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help -V --version -t --test-conf -d --daemonize -D --describe-stats -v --verbose -o --output -c --conf-file -s --stats-port -a --stats-addr -i --stats-interval -p --pid-file -m --mbuf-size --workers --log-format --admin --listen" -- "$word")); else ((COMP_CWORD == 1)) && COMPREPLY=($(compgen -W "route plan compare reload top tap health upgrade demo schema password completions man" -- "$word")); fi ;;
    "route") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help -c --conf-file --admin --token-file --ca-file --cert-file --key-file --pool --hex --ejected --explain --json" -- "$word")); else :; fi ;;
    "plan") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help --pool --keys --json --svg" -- "$word")); else compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); fi ;;
    "compare") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help --pool --old-at --new-at --direct --scan --keys --hex --count --rate --show --user --password-file --ca --json --record --replay --writes -c --conf-file --admin --token-file --ca-file --cert-file --key-file" -- "$word")); else compopt -o filenames; COMPREPLY=($(compgen -f -- "$word")); fi ;;
    "reload") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help -p --pid-file" -- "$word")); else :; fi ;;
    "top") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help -c --conf-file --admin --token-file --ca-file --cert-file --key-file --pool --once --json" -- "$word")); else :; fi ;;
    "tap") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help -c --conf-file --admin --token-file --ca-file --cert-file --key-file --pool --key --command --client --rate --count --json" -- "$word")); else :; fi ;;
    "health") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help -c --conf-file --admin --token-file --ca-file --cert-file --key-file --alive" -- "$word")); else :; fi ;;
    "upgrade") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help -p --pid-file" -- "$word")); else :; fi ;;
    "demo") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help --json" -- "$word")); else :; fi ;;
    "schema") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$word")); else :; fi ;;
    "password") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$word")); else :; fi ;;
    "completions") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$word")); else COMPREPLY=($(compgen -W "bash zsh fish" -- "$word")); fi ;;
    "man") if [[ $word == -* ]]; then COMPREPLY=($(compgen -W "-h --help" -- "$word")); else :; fi ;;
  esac
}
complete -F _ringmaster ringmaster
