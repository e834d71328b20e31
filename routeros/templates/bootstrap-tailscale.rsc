#!rsc by RouterOS
# RouterOS script: bootstrap-tailscale
# mikrotik-tailscale {{RELEASE}}; do not edit
#
# requires RouterOS, version={{MINIMUM}}
# requires device-mode, fetch
#
# Brings the other *-tailscale scripts of this release into /system/script, or up to this release.
# It says what it would do, and does it after ":global TsGo true". Nothing is changed before every
# script has come from the address in the global TsFiles and is the right one by its digest. Your
# settings stay as they are; settings that are new are added to them.
# docs/USAGE.md#installation

#@ include bootstrap
