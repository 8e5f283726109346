# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_turnpike_global_optspecs
    string join \n h/help V/version
end

function __fish_turnpike_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_turnpike_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_turnpike_using_subcommand
    set -l cmd (__fish_turnpike_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c turnpike -n "__fish_turnpike_needs_command" -s h -l help -d 'Print help'
complete -c turnpike -n "__fish_turnpike_needs_command" -s V -l version -d 'Print version'
complete -c turnpike -n "__fish_turnpike_needs_command" -f -a "serve" -d 'Run the daemon'
complete -c turnpike -n "__fish_turnpike_needs_command" -f -a "check-config" -d 'Check what serve would be told, and open no socket'
complete -c turnpike -n "__fish_turnpike_needs_command" -f -a "credential" -d 'Mint a TURN credential that expires'
complete -c turnpike -n "__fish_turnpike_needs_command" -f -a "token" -d 'Sign a join token for signaling'
complete -c turnpike -n "__fish_turnpike_needs_command" -f -a "reload" -d 'Have the daemon read its configuration again'
complete -c turnpike -n "__fish_turnpike_needs_command" -f -a "status" -d 'Ask a running daemon how it is'
complete -c turnpike -n "__fish_turnpike_needs_command" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l config -d 'TOML file with the same names as keys; flags win over the environment, that over the file [default: /etc/turnpike/turnpike.toml if it exists]' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l listen -d 'Address for plain STUN and TURN, UDP and TCP unless one is named; TLS is recognized too once a certificate is set [default: [::]:3478] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l listen-tls -d 'Address for TURN over TLS; refuses plaintext [default: [::]:5349 once a certificate is set] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l proxy-protocol -d 'Sources that must send a PROXY v1 or v2 header on every TCP listener (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-connections-per-ip -d 'TCP connections of every kind from one IPv4 address or IPv6 /64 (the one that a PROXY header names); 0 = unlimited [default: 1000]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l tls-cert -d 'File with the certificate chain; goes with --tls-key' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l tls-key -d 'File with the private key of --tls-cert' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l tls-self-signed -d 'Make a certificate of its own, kept in the state directory, for --public-host, the host name, localhost and the listen addresses' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l http -d 'Address for the HTTP API without TLS: for the same host, or behind a proxy; a default that is taken is left out with a warning [default: 127.0.0.1:8080]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l https -d 'Address for the HTTP API over TLS, HTTP/1.1 and HTTP/2; TURN over TLS is served on the same port' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l api-key -d 'Bearer key of the HTTP API, like mint,token@KEY; scopes are mint, token, publish, read and admin, all but admin if none is named; without a key one of all scopes is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l api-key-file -d 'File with keys like those of --api-key, one a line (repeatable)' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l token-secret -d 'Shared secret for join tokens (HS256), with the kid that names it: the first signs, all verify; without one it is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l token-jwks -d 'Public keys of join tokens as a JWK set (RS256, ES256, EdDSA): a file, read again when it changes, or an https URL, fetched again and again' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l token-in-url -d 'Take join tokens in URLs too (?token=), where access logs may keep them' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l allow-origin -d 'Web origin whose pages may call the API, like https://app.example, or * [default: the own origin] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l trusted-proxy -d 'Proxies whose Forwarded and X-Forwarded headers are believed (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l signal-auth -d 'Who may open a signaling session: the bearer of a join token, or anybody, in any room [default: token]' -r -f -a "token\t''
open\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l resume-grace -d 'How long a session waits for a client whose connection is gone [default: 30s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l ping-interval -d 'Silence after which a client is pinged; after twice that the connection is closed [default: 15s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l ring-memory -d 'Bytes kept for clients that are absent or slow, all sessions together; 0 = unlimited [default: 256m]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l signal-rate -d 'Messages a second from one session, and how many at once; 0 = unlimited [default: 50/200]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l signal-rate-per-ip -d 'Messages a second from one IPv4 address or IPv6 /64, and how many at once; 0 = unlimited [default: 1000/2000]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l signal-bytes -d 'Bytes a second sent out on behalf of one session, each copy counted, and how many at once; 0 = unlimited [default: 512k/4m]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-message -d 'Largest signaling message, up to 1m; 0 = unlimited [default: 64k]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-meta -d 'Largest meta of a peer, and largest value in a room\'s state; 0 = unlimited [default: 4k]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-rooms-per-session -d 'Rooms that one session may be in; 0 = unlimited [default: 64]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-peers-per-room -d 'Peers of one room, and observers as many; 0 = unlimited [default: 500]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l demo -d 'Serve the demo page at /demo/ with open signaling, on loopback addresses alone; peers on loopback and in private networks are allowed' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l demo-public -d 'Serve the demo page with open signaling on every address; peers stay refused as by default' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l public-host -d 'Host in every URL that is handed out; for turns: it must match the certificate [default: first DNS name of the certificate, else the external, else the relay address]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l ice-url -d 'URL in the iceServers list in place of the generated ones; at most four [default: generated: stun:, turn: over UDP and TCP, turns: once a certificate is set] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l realm -d 'TURN realm, at most 127 bytes; best up to 64, see SECURITY.md [default: host name]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l relay-address -d 'Local address that relay sockets bind to, one a family [default: source address of each family\'s default route] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l external-address -d 'Address advertised in place of the local relay address (1:1 NAT) (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l relay-ports -d 'Relay port range; it bounds the allocations of one relay address and family [default: 49152-65535]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l user -d 'Static long-term user (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l users-file -d 'File with static users, NAME:PASSWORD, one a line; # begins a comment line' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l auth-secret -d 'Shared secret for expiring credentials: the first mints, all verify; without one it is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l auth-secret-file -d 'File with a shared secret, counted after those of --auth-secret; several may stand one a line (repeatable)' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l credential-ttl -d 'Lifetime of minted credentials [default: 1h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-credential-ttl -d 'Longest lifetime minted or accepted; 0 = unlimited [default: 24h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l expiry-grace -d 'How long a live allocation may be refreshed after its credential has expired; 0 = strict [default: 24h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l allow-peer -d 'Peers allowed over the built-in list of refused ranges; the longest prefix wins (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l deny-peer -d 'Peers refused; at equal length it wins over --allow-peer (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-allocations -d 'Allocations of the daemon; 0 = bounded by the ports alone [default: bounded by the ports]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-allocations-per-user -d 'Allocations of one user; 0 = unlimited [default: 128]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-allocations-per-ip -d 'Allocations of one client address (an IPv4 address or an IPv6 /64); 0 = unlimited [default: 1024]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-permissions -d 'Permissions of one allocation; 0 = unlimited [default: 256]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-channels -d 'Channels of one allocation; 0 = unlimited [default: 256]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-bitrate -d 'Relayed bits a second of the daemon, like 500kbit, 2mbit or 1gbit; 0 = unlimited [default: 0]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-bitrate-per-user -d 'Relayed bits a second of one user; 0 = unlimited [default: 0]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-bitrate-per-allocation -d 'Relayed bits a second of one allocation; 0 = unlimited [default: 0]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l max-lifetime -d 'Longest lifetime of an allocation; 0 = unlimited [default: 3600s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l default-lifetime -d 'Lifetime of an allocation that asks for none [default: 600s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l unauthenticated-rate -d 'Answers a second to unauthenticated UDP requests per IPv4 address or IPv6 /64, ten times that per /24 and /48; 0 = unlimited [default: 50]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l workers -d 'Threads that carry media, 1 to 255 [default: number of cores]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l state-dir -d 'Directory for generated secrets and certificates [default: $STATE_DIRECTORY, else /var/lib/turnpike for root, else $XDG_STATE_HOME/turnpike]' -r -f -a "(__fish_complete_directories)"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l admin-socket -d 'Unix socket for turnpike reload and status, open to its owner alone [default: admin.sock in $RUNTIME_DIRECTORY, else in the state directory]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l log-format -d 'Format of log lines on standard error [default: text, or json under systemd]' -r -f -a "text\t''
json\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l log-level -d 'Least important level that is logged: error, warn, info, debug or trace; peer addresses appear only from debug on [default: info]' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -l log-addresses -d 'How client addresses are logged: in full, as an IPv4 /24 or IPv6 /48, or not at all [default: prefix]' -r -f -a "full\t''
prefix\t''
none\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand serve" -s h -l help -d 'Print help'
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l config -d 'TOML file with the same names as keys; flags win over the environment, that over the file [default: /etc/turnpike/turnpike.toml if it exists]' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l listen -d 'Address for plain STUN and TURN, UDP and TCP unless one is named; TLS is recognized too once a certificate is set [default: [::]:3478] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l listen-tls -d 'Address for TURN over TLS; refuses plaintext [default: [::]:5349 once a certificate is set] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l proxy-protocol -d 'Sources that must send a PROXY v1 or v2 header on every TCP listener (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-connections-per-ip -d 'TCP connections of every kind from one IPv4 address or IPv6 /64 (the one that a PROXY header names); 0 = unlimited [default: 1000]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l tls-cert -d 'File with the certificate chain; goes with --tls-key' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l tls-key -d 'File with the private key of --tls-cert' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l tls-self-signed -d 'Make a certificate of its own, kept in the state directory, for --public-host, the host name, localhost and the listen addresses' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l http -d 'Address for the HTTP API without TLS: for the same host, or behind a proxy; a default that is taken is left out with a warning [default: 127.0.0.1:8080]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l https -d 'Address for the HTTP API over TLS, HTTP/1.1 and HTTP/2; TURN over TLS is served on the same port' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l api-key -d 'Bearer key of the HTTP API, like mint,token@KEY; scopes are mint, token, publish, read and admin, all but admin if none is named; without a key one of all scopes is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l api-key-file -d 'File with keys like those of --api-key, one a line (repeatable)' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l token-secret -d 'Shared secret for join tokens (HS256), with the kid that names it: the first signs, all verify; without one it is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l token-jwks -d 'Public keys of join tokens as a JWK set (RS256, ES256, EdDSA): a file, read again when it changes, or an https URL, fetched again and again' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l token-in-url -d 'Take join tokens in URLs too (?token=), where access logs may keep them' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l allow-origin -d 'Web origin whose pages may call the API, like https://app.example, or * [default: the own origin] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l trusted-proxy -d 'Proxies whose Forwarded and X-Forwarded headers are believed (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l signal-auth -d 'Who may open a signaling session: the bearer of a join token, or anybody, in any room [default: token]' -r -f -a "token\t''
open\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l resume-grace -d 'How long a session waits for a client whose connection is gone [default: 30s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l ping-interval -d 'Silence after which a client is pinged; after twice that the connection is closed [default: 15s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l ring-memory -d 'Bytes kept for clients that are absent or slow, all sessions together; 0 = unlimited [default: 256m]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l signal-rate -d 'Messages a second from one session, and how many at once; 0 = unlimited [default: 50/200]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l signal-rate-per-ip -d 'Messages a second from one IPv4 address or IPv6 /64, and how many at once; 0 = unlimited [default: 1000/2000]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l signal-bytes -d 'Bytes a second sent out on behalf of one session, each copy counted, and how many at once; 0 = unlimited [default: 512k/4m]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-message -d 'Largest signaling message, up to 1m; 0 = unlimited [default: 64k]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-meta -d 'Largest meta of a peer, and largest value in a room\'s state; 0 = unlimited [default: 4k]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-rooms-per-session -d 'Rooms that one session may be in; 0 = unlimited [default: 64]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-peers-per-room -d 'Peers of one room, and observers as many; 0 = unlimited [default: 500]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l demo -d 'Serve the demo page at /demo/ with open signaling, on loopback addresses alone; peers on loopback and in private networks are allowed' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l demo-public -d 'Serve the demo page with open signaling on every address; peers stay refused as by default' -r -f -a "true\t''
false\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l public-host -d 'Host in every URL that is handed out; for turns: it must match the certificate [default: first DNS name of the certificate, else the external, else the relay address]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l ice-url -d 'URL in the iceServers list in place of the generated ones; at most four [default: generated: stun:, turn: over UDP and TCP, turns: once a certificate is set] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l realm -d 'TURN realm, at most 127 bytes; best up to 64, see SECURITY.md [default: host name]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l relay-address -d 'Local address that relay sockets bind to, one a family [default: source address of each family\'s default route] (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l external-address -d 'Address advertised in place of the local relay address (1:1 NAT) (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l relay-ports -d 'Relay port range; it bounds the allocations of one relay address and family [default: 49152-65535]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l user -d 'Static long-term user (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l users-file -d 'File with static users, NAME:PASSWORD, one a line; # begins a comment line' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l auth-secret -d 'Shared secret for expiring credentials: the first mints, all verify; without one it is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l auth-secret-file -d 'File with a shared secret, counted after those of --auth-secret; several may stand one a line (repeatable)' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l credential-ttl -d 'Lifetime of minted credentials [default: 1h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-credential-ttl -d 'Longest lifetime minted or accepted; 0 = unlimited [default: 24h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l expiry-grace -d 'How long a live allocation may be refreshed after its credential has expired; 0 = strict [default: 24h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l allow-peer -d 'Peers allowed over the built-in list of refused ranges; the longest prefix wins (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l deny-peer -d 'Peers refused; at equal length it wins over --allow-peer (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-allocations -d 'Allocations of the daemon; 0 = bounded by the ports alone [default: bounded by the ports]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-allocations-per-user -d 'Allocations of one user; 0 = unlimited [default: 128]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-allocations-per-ip -d 'Allocations of one client address (an IPv4 address or an IPv6 /64); 0 = unlimited [default: 1024]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-permissions -d 'Permissions of one allocation; 0 = unlimited [default: 256]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-channels -d 'Channels of one allocation; 0 = unlimited [default: 256]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-bitrate -d 'Relayed bits a second of the daemon, like 500kbit, 2mbit or 1gbit; 0 = unlimited [default: 0]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-bitrate-per-user -d 'Relayed bits a second of one user; 0 = unlimited [default: 0]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-bitrate-per-allocation -d 'Relayed bits a second of one allocation; 0 = unlimited [default: 0]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l max-lifetime -d 'Longest lifetime of an allocation; 0 = unlimited [default: 3600s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l default-lifetime -d 'Lifetime of an allocation that asks for none [default: 600s]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l unauthenticated-rate -d 'Answers a second to unauthenticated UDP requests per IPv4 address or IPv6 /64, ten times that per /24 and /48; 0 = unlimited [default: 50]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l workers -d 'Threads that carry media, 1 to 255 [default: number of cores]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l state-dir -d 'Directory for generated secrets and certificates [default: $STATE_DIRECTORY, else /var/lib/turnpike for root, else $XDG_STATE_HOME/turnpike]' -r -f -a "(__fish_complete_directories)"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l admin-socket -d 'Unix socket for turnpike reload and status, open to its owner alone [default: admin.sock in $RUNTIME_DIRECTORY, else in the state directory]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l log-format -d 'Format of log lines on standard error [default: text, or json under systemd]' -r -f -a "text\t''
json\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l log-level -d 'Least important level that is logged: error, warn, info, debug or trace; peer addresses appear only from debug on [default: info]' -r -f -a "error\t''
warn\t''
info\t''
debug\t''
trace\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -l log-addresses -d 'How client addresses are logged: in full, as an IPv4 /24 or IPv6 /48, or not at all [default: prefix]' -r -f -a "full\t''
prefix\t''
none\t''"
complete -c turnpike -n "__fish_turnpike_using_subcommand check-config" -s h -l help -d 'Print help'
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l ttl -d 'Lifetime, at most --max-credential-ttl [default: --credential-ttl]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l config -d 'TOML file with the same names as keys; flags win over the environment, that over the file [default: /etc/turnpike/turnpike.toml if it exists]' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l auth-secret -d 'Shared secret for expiring credentials: the first mints, all verify; without one it is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l auth-secret-file -d 'File with a shared secret, counted after those of --auth-secret; several may stand one a line (repeatable)' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l credential-ttl -d 'Lifetime of minted credentials [default: 1h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l max-credential-ttl -d 'Longest lifetime minted or accepted; 0 = unlimited [default: 24h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l state-dir -d 'Directory for generated secrets and certificates [default: $STATE_DIRECTORY, else /var/lib/turnpike for root, else $XDG_STATE_HOME/turnpike]' -r -f -a "(__fish_complete_directories)"
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -l json -d 'Print JSON'
complete -c turnpike -n "__fish_turnpike_using_subcommand credential" -s h -l help -d 'Print help'
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l room -d 'Room that the token opens: a name, or a glob with * and ?' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l sub -d 'Identity of the client in your application' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l ttl -d 'Lifetime, at most 365d [default: 1h]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l perm -d 'join, observe, signal, send, state or kick [default: join signal send state]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l meta -d 'Object whose members stand in the peer\'s meta, with $ in front' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l max-peers -d 'Peers that a room may have for this token to open it' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l config -d 'TOML file with the same names as keys; flags win over the environment, that over the file [default: /etc/turnpike/turnpike.toml if it exists]' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l token-secret -d 'Shared secret for join tokens (HS256), with the kid that names it: the first signs, all verify; without one it is made on first start and kept in the state directory (repeatable)' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l state-dir -d 'Directory for generated secrets and certificates [default: $STATE_DIRECTORY, else /var/lib/turnpike for root, else $XDG_STATE_HOME/turnpike]' -r -f -a "(__fish_complete_directories)"
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -l json -d 'Print JSON'
complete -c turnpike -n "__fish_turnpike_using_subcommand token" -s h -l help -d 'Print help'
complete -c turnpike -n "__fish_turnpike_using_subcommand reload" -l config -d 'TOML file with the same names as keys; flags win over the environment, that over the file [default: /etc/turnpike/turnpike.toml if it exists]' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand reload" -l state-dir -d 'Directory for generated secrets and certificates [default: $STATE_DIRECTORY, else /var/lib/turnpike for root, else $XDG_STATE_HOME/turnpike]' -r -f -a "(__fish_complete_directories)"
complete -c turnpike -n "__fish_turnpike_using_subcommand reload" -l admin-socket -d 'Unix socket for turnpike reload and status, open to its owner alone [default: admin.sock in $RUNTIME_DIRECTORY, else in the state directory]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand reload" -l json -d 'Print JSON'
complete -c turnpike -n "__fish_turnpike_using_subcommand reload" -s h -l help -d 'Print help'
complete -c turnpike -n "__fish_turnpike_using_subcommand status" -l config -d 'TOML file with the same names as keys; flags win over the environment, that over the file [default: /etc/turnpike/turnpike.toml if it exists]' -r -F
complete -c turnpike -n "__fish_turnpike_using_subcommand status" -l state-dir -d 'Directory for generated secrets and certificates [default: $STATE_DIRECTORY, else /var/lib/turnpike for root, else $XDG_STATE_HOME/turnpike]' -r -f -a "(__fish_complete_directories)"
complete -c turnpike -n "__fish_turnpike_using_subcommand status" -l admin-socket -d 'Unix socket for turnpike reload and status, open to its owner alone [default: admin.sock in $RUNTIME_DIRECTORY, else in the state directory]' -r -f
complete -c turnpike -n "__fish_turnpike_using_subcommand status" -l json -d 'Print JSON'
complete -c turnpike -n "__fish_turnpike_using_subcommand status" -s h -l help -d 'Print help'
complete -c turnpike -n "__fish_turnpike_using_subcommand help; and not __fish_seen_subcommand_from serve check-config credential token reload status help" -f -a "serve" -d 'Run the daemon'
complete -c turnpike -n "__fish_turnpike_using_subcommand help; and not __fish_seen_subcommand_from serve check-config credential token reload status help" -f -a "check-config" -d 'Check what serve would be told, and open no socket'
complete -c turnpike -n "__fish_turnpike_using_subcommand help; and not __fish_seen_subcommand_from serve check-config credential token reload status help" -f -a "credential" -d 'Mint a TURN credential that expires'
complete -c turnpike -n "__fish_turnpike_using_subcommand help; and not __fish_seen_subcommand_from serve check-config credential token reload status help" -f -a "token" -d 'Sign a join token for signaling'
complete -c turnpike -n "__fish_turnpike_using_subcommand help; and not __fish_seen_subcommand_from serve check-config credential token reload status help" -f -a "reload" -d 'Have the daemon read its configuration again'
complete -c turnpike -n "__fish_turnpike_using_subcommand help; and not __fish_seen_subcommand_from serve check-config credential token reload status help" -f -a "status" -d 'Ask a running daemon how it is'
complete -c turnpike -n "__fish_turnpike_using_subcommand help; and not __fish_seen_subcommand_from serve check-config credential token reload status help" -f -a "help" -d 'Print this message or the help of the given subcommand(s)'
