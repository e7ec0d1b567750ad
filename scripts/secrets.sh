# shellcheck shell=bash disable=SC2034  # the files that ./dev sources share their variables
# Makes secrets and writes them where only their owner can read them. Sourced by ./dev.

# Random bytes as hex; the number of bytes is the argument.
secret() { od -An -v -N"${1:-24}" -tx1 /dev/urandom | tr -d ' \n'; }

# write_secret FILE: standard input becomes FILE, readable by its owner alone from the first byte.
# Written beside it and renamed, so that an interrupted writer leaves the old file whole.
write_secret() {
    local file=$1 temporary
    # mktemp creates with mode 600 whatever the umask is.
    temporary=$(mktemp "$file.XXXXXXXX") || die 2 "cannot write into $(dirname "$file")"
    if cat >"$temporary"; then mv -f "$temporary" "$file"; else rm -f "$temporary"; die 2 "cannot write $file"; fi
}

# Bytes outside RFC 3986's unreserved set become %XX, as a URL's user information needs it.
url_escape() {
    local hex escaped='' byte
    hex=$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n')
    while [ -n "$hex" ]; do
        byte=${hex:0:2} hex=${hex:2}
        case $byte in
            # 0-9, A-Z, a-z and - . _ ~
            3[0-9] | 4[1-9a-f] | 5[0-9a] | 6[1-9a-f] | 7[0-9a] | 2d | 2e | 5f | 7e)
                # shellcheck disable=SC2059  # the format is two hex digits of our own
                escaped+=$(printf "\\x$byte")
                ;;
            *) escaped+=%${byte^^} ;;
        esac
    done
    printf %s "$escaped"
}

# A password as a string of NATS's configuration language, where 12345, 9m and true are no strings.
nats_quote() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}

# A value as Docker Compose and dotenvy read it alike: bare where nothing in it has a meaning, else
# in double quotes.
env_quote() {
    local text=$1
    case $text in
        *[!A-Za-z0-9_./:@%+,=~-]*) ;;
        *) printf %s "$text"; return ;;
    esac
    text=${text//\\/\\\\}
    text=${text//\"/\\\"}
    printf '"%s"' "${text//\$/\\\$}"
}

# hex_to_bytes: hex on standard input, bytes on standard output.
hex_to_bytes() {
    local hex
    read -r hex || true
    # shellcheck disable=SC2059,SC2001  # the format consists of \xHH, a pair of digits each
    printf "$(sed 's/../\\x&/g' <<<"$hex")"
}

# strkey VERSION HEX: Stellar's text form of a key (SEP-23): version byte, 32 bytes, CRC16-XModem,
# in base32.
strkey() {
    local payload=$1$2 crc=0 i
    for ((i = 0; i < ${#payload}; i += 2)); do
        crc=$((crc ^ (16#${payload:i:2} << 8)))
        for _ in 1 2 3 4 5 6 7 8; do
            if ((crc & 0x8000)); then crc=$(((crc << 1 ^ 0x1021) & 0xffff)); else crc=$((crc << 1 & 0xffff)); fi
        done
    done
    # The checksum is little-endian.
    printf '%s%02x%02x\n' "$payload" $((crc & 0xff)) $((crc >> 8)) | hex_to_bytes | base32 -w 0
}

stellar_secret() { strkey 90 "$(secret 32)"; }

# The public half of an Ed25519 seed, both as hex. The seed reaches openssl through a pipe, never as
# an argument.
ed25519_public() {
    # RFC 8410: the fixed head of a PKCS#8 document that holds an Ed25519 seed.
    printf '302e020100300506032b657004220420%s\n' "$1" | hex_to_bytes |
        openssl pkey -inform DER -pubout -outform DER | tail -c 32 | od -An -v -tx1 | tr -d ' \n'
}

# The public key G… that belongs to a secret S….
stellar_public() {
    local seed public
    seed=$(printf %s "$1" | base32 -d 2>/dev/null | od -An -v -tx1 | tr -d ' \n' | cut -c3-66)
    public=$(ed25519_public "$seed")
    [ ${#public} -eq 64 ] && [ "$(strkey 90 "$seed")" = "$1" ] || return 1
    strkey 30 "$public"
}

# One password each for Postgres and NATS, a service at a time.
PASSWORDS=(POSTGRES_PASSWORD RUNNER_DB_PASSWORD ORACLE_GATE_DB_PASSWORD MODULE_GATE_DB_PASSWORD
    RUNNER_NATS_PASSWORD ORACLE_GATE_NATS_PASSWORD MODULE_GATE_NATS_PASSWORD OBSERVER_NATS_PASSWORD)
# What the services and the command line show each other.
TOKENS=(RUNNER_MODULE_GATE_TOKEN RUNNER_ORACLE_GATE_TOKEN CLI_TOKEN)

# read_env_file FILE: takes the NAME=value lines of a file this script wrote, or that a person
# edited, into variables. Only the names listed here: a file of settings cannot set PATH.
read_env_file() {
    local line name value
    while IFS= read -r line || [ -n "$line" ]; do
        line=${line%$'\r'}
        [[ $line =~ ^[[:space:]]*(export[[:space:]]+)?([A-Z][A-Z0-9_]*)[[:space:]]*=[[:space:]]*(.*)$ ]] || continue
        name=${BASH_REMATCH[2]} value=${BASH_REMATCH[3]}
        [[ " ${PASSWORDS[*]} ${TOKENS[*]} ${KEYS[*]} " == *" $name "* ]] || continue
        case $value in
            \'*\'*) value=${value#\'} value=${value%\'*} ;;
            \"*\"*)
                value=${value#\"} value=${value%\"*}
                value=${value//\\\$/\$}
                value=${value//\\\"/\"}
                value=${value//\\\\/\\}
                ;;
            *) value=${value%%[[:space:]]#*} value=${value%"${value##*[![:space:]]}"} ;;
        esac
        [ -z "$value" ] || printf -v "$name" %s "$value"
    done <"$1"
}
KEYS=(RUNNER_SECRET RUNNER_SOURCE_SECRET RUNNER_AUTH_SECRET RUNNER_TOKEN_SECRET MODULE_GATE_ATTESTATION_SECRET)

# Fills every secret that has no value yet.
make_secrets() {
    local name
    for name in "${PASSWORDS[@]}" "${TOKENS[@]}"; do [ -n "${!name:-}" ] || printf -v "$name" %s "$(secret)"; done
    for name in RUNNER_SECRET RUNNER_SOURCE_SECRET RUNNER_AUTH_SECRET; do
        [ -n "${!name:-}" ] || printf -v "$name" %s "$(stellar_secret)"
    done
    for name in RUNNER_TOKEN_SECRET MODULE_GATE_ATTESTATION_SECRET; do
        [ -n "${!name:-}" ] || printf -v "$name" %s "$(secret 32)"
    done
    for name in "${PASSWORDS[@]}" "${TOKENS[@]}" "${KEYS[@]}"; do
        [[ ${!name} != *[[:cntrl:]]* ]] || die 3 "$name holds a control character; choose another value"
        [[ $name != *NATS* || ${!name} != \$2[aby]\$* ]] || die 3 "$name looks like a bcrypt hash, which NATS would compare differently; choose another value"
    done
    for name in "${TOKENS[@]}"; do
        [[ ${!name} =~ ^[A-Za-z0-9._~+/=-]{16,255}$ ]] || die 3 "$name: expected at least 16 letters, digits or . _ ~ + / = -"
    done
    [[ $MODULE_GATE_ATTESTATION_SECRET =~ ^[0-9a-fA-F]{64}$ ]] || die 3 "MODULE_GATE_ATTESTATION_SECRET: expected 64 hex digits"
}

# own_settings FILE: its lines without those that env_file writes itself.
own_settings() {
    local written="${PASSWORDS[*]} ${TOKENS[*]} ${KEYS[*]} ${DERIVED[*]}"
    sed -E -e '/^#!/d' -e "/^[[:space:]]*(export[[:space:]]+)?(${written// /|})[[:space:]]*=/d" "$1" | sed -e '/./,$!d'
}
DERIVED=('(RUNNER|ORACLE_GATE|MODULE_GATE)_(DATABASE|NATS)_URL' '[A-Z_]+_NATS_PASSWORD_QUOTED'
    '(RUNNER|ORACLE_GATE|MODULE_GATE)_GRPC_TOKENS' RUNNER_PUBLIC_KEY ORACLE_GATE_ATTESTATION_KEYS)

# ./dev env-file [FILE]: the secrets of a Compose deployment. Values that FILE has stay; what is
# missing is made, and what follows from other values (URLs, token lists, quoted passwords) is
# computed anew.
env_file() {
    local file=${1:-$REPO/deploy/.env} had='' service upper database name others=''
    [ $# -le 1 ] || die 3 "usage: ./dev env-file [FILE]"
    command -v openssl >/dev/null || die 3 "openssl is missing (apt-get install openssl)"
    # Before anything is changed: a folder would lose its mode.
    if { [ -e "$file" ] && [ ! -f "$file" ]; } || [ "${file%/}" != "$file" ]; then
        die 3 "$file is no file; name a file, or a name that is not taken yet"
    fi
    if [ -e "$file" ]; then
        had=yes
        [ -r "$file" ] || die 3 "cannot read $file"
        chmod 600 "$file"
        read_env_file "$file"
        others=$(own_settings "$file")
    fi
    make_secrets
    local runner_public attestation_public
    runner_public=$(stellar_public "$RUNNER_SECRET") || die 3 "RUNNER_SECRET: expected a Stellar secret key (S…)"
    attestation_public=$(ed25519_public "$MODULE_GATE_ATTESTATION_SECRET") && [ ${#attestation_public} -eq 64 ] ||
        die 2 "openssl cannot derive an Ed25519 public key; OpenSSL 1.1.1 or newer is needed"
    {
        echo "#! The secrets of deploy/docker-compose.yml, made by ./dev env-file. Keep this file to yourself."
        echo "#! After a change in the first part, run ./dev env-file again: the second part follows from the first."
        echo
        for name in "${PASSWORDS[@]}" "${TOKENS[@]}" "${KEYS[@]}"; do printf '%s=%s\n' "$name" "$(env_quote "${!name}")"; done
        echo
        echo "#! Computed from the values above."
        for service in runner oracle-gate module-gate; do
            upper=${service^^} upper=${upper//-/_} database=${service//-/_}
            name=${upper}_DB_PASSWORD
            printf '%s_DATABASE_URL=postgres://%s:%s@postgres:5432/%s\n' "$upper" "$database" "$(url_escape "${!name}")" "$database"
            name=${upper}_NATS_PASSWORD
            printf '%s_NATS_URL=nats://%s:%s@nats:4222\n' "$upper" "$service" "$(url_escape "${!name}")"
        done
        for name in RUNNER ORACLE_GATE MODULE_GATE OBSERVER; do
            local password=${name}_NATS_PASSWORD
            printf '%s_QUOTED=%s\n' "$password" "$(env_quote "$(nats_quote "${!password}")")"
        done
        printf 'RUNNER_PUBLIC_KEY=%s\n' "$runner_public"
        printf 'RUNNER_GRPC_TOKENS=cli:%s\n' "$CLI_TOKEN"
        printf 'MODULE_GATE_GRPC_TOKENS=runner:%s,cli:%s\n' "$RUNNER_MODULE_GATE_TOKEN" "$CLI_TOKEN"
        printf 'ORACLE_GATE_GRPC_TOKENS=runner:%s,cli:%s\n' "$RUNNER_ORACLE_GATE_TOKEN" "$CLI_TOKEN"
        printf 'ORACLE_GATE_ATTESTATION_KEYS=%s\n' "$attestation_public"
        echo
        echo "#! Settings of your own, kept as they are (.env.example lists them)."
        [ -z "$others" ] || printf '%s\n' "$others"
    } | write_secret "$file"
    if [ -n "$had" ]; then say "$file is complete; the values that it had are kept"; else say "$file is written"; fi
}

# ./dev k8s-secrets [FILE]: the Secrets of deploy/k8s for the values in FILE (deploy/.env), as JSON
# for kubectl apply -f -.
k8s_secrets() {
    local file=${1:-$REPO/deploy/.env} name separator='' entry
    [ $# -le 1 ] || die 3 "usage: ./dev k8s-secrets [FILE]"
    # A pipe is read once, as a file is.
    [ -f "$file" ] || [ -p "$file" ] || die 3 "there is no file $file; make it with ./dev env-file"
    [ -r "$file" ] || die 3 "cannot read $file"
    read_env_file "$file"
    make_secrets
    local runner=(
        "DATABASE_URL=postgres://runner:$(url_escape "$RUNNER_DB_PASSWORD")@postgres:5432/runner"
        "NATS_URL=nats://runner:$(url_escape "$RUNNER_NATS_PASSWORD")@nats:4222"
        "RUNNER_SECRET=$RUNNER_SECRET" "RUNNER_SOURCE_SECRET=$RUNNER_SOURCE_SECRET"
        "RUNNER_AUTH_SECRET=$RUNNER_AUTH_SECRET" "RUNNER_TOKEN_SECRET=$RUNNER_TOKEN_SECRET"
        "RUNNER_GRPC_TOKENS=cli:$CLI_TOKEN"
        "RUNNER_MODULE_GATE_TOKEN=$RUNNER_MODULE_GATE_TOKEN" "RUNNER_ORACLE_GATE_TOKEN=$RUNNER_ORACLE_GATE_TOKEN"
    )
    local oracle_gate=(
        "DATABASE_URL=postgres://oracle_gate:$(url_escape "$ORACLE_GATE_DB_PASSWORD")@postgres:5432/oracle_gate"
        "NATS_URL=nats://oracle-gate:$(url_escape "$ORACLE_GATE_NATS_PASSWORD")@nats:4222"
        "ORACLE_GATE_GRPC_TOKENS=runner:$RUNNER_ORACLE_GATE_TOKEN,cli:$CLI_TOKEN"
        "ORACLE_GATE_ATTESTATION_KEYS=$(ed25519_public "$MODULE_GATE_ATTESTATION_SECRET")"
    )
    local module_gate=(
        "DATABASE_URL=postgres://module_gate:$(url_escape "$MODULE_GATE_DB_PASSWORD")@postgres:5432/module_gate"
        "NATS_URL=nats://module-gate:$(url_escape "$MODULE_GATE_NATS_PASSWORD")@nats:4222"
        "MODULE_GATE_ATTESTATION_SECRET=$MODULE_GATE_ATTESTATION_SECRET"
        "MODULE_GATE_GRPC_TOKENS=runner:$RUNNER_MODULE_GATE_TOKEN,cli:$CLI_TOKEN"
    )
    local postgres=("POSTGRES_PASSWORD=$POSTGRES_PASSWORD" "RUNNER_DB_PASSWORD=$RUNNER_DB_PASSWORD"
        "ORACLE_GATE_DB_PASSWORD=$ORACLE_GATE_DB_PASSWORD" "MODULE_GATE_DB_PASSWORD=$MODULE_GATE_DB_PASSWORD")
    local nats=("RUNNER_NATS_PASSWORD=$(nats_quote "$RUNNER_NATS_PASSWORD")"
        "ORACLE_GATE_NATS_PASSWORD=$(nats_quote "$ORACLE_GATE_NATS_PASSWORD")"
        "MODULE_GATE_NATS_PASSWORD=$(nats_quote "$MODULE_GATE_NATS_PASSWORD")"
        "OBSERVER_NATS_PASSWORD=$(nats_quote "$OBSERVER_NATS_PASSWORD")")
    printf '{"apiVersion":"v1","kind":"List","items":['
    for name in runner oracle-gate module-gate postgres nats; do
        printf '%s\n{"apiVersion":"v1","kind":"Secret","metadata":{"name":"%s","namespace":"lumio"},"stringData":{' "$separator" "$name"
        separator=''
        local -n entries=${name//-/_}
        for entry in "${entries[@]}"; do
            printf '%s"%s":%s' "$separator" "${entry%%=*}" "$(json_quote "${entry#*=}")"
            separator=,
        done
        printf '}}'
    done
    printf ']}\n'
}

# Text without control characters as a JSON string.
json_quote() {
    local text=${1//\\/\\\\}
    printf '"%s"' "${text//\"/\\\"}"
}
