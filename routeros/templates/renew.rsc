# the scripts of mikrotik-tailscale {{RELEASE}}, and nothing else: says what it would do
{
#@ include fetch
}
