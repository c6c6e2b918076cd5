#!/usr/bin/env bash
# A Slurm of one node on this machine, for the tests in this folder (root; Debian or Ubuntu):
#     tests/beyond/slurm_node.sh start | stop | remove
set -euo pipefail
host=$(hostname -s)

start() {
  command -v slurmctld >/dev/null || { apt-get -qq update && apt-get -qq install -y slurm-wlm munge; } >/dev/null
  mkdir -p /etc/slurm /var/spool/slurmctld /var/spool/slurmd /run/munge
  [ -s /etc/munge/munge.key ] || dd if=/dev/urandom of=/etc/munge/munge.key bs=1024 count=1 status=none
  chown -R munge: /etc/munge /run/munge && chmod 400 /etc/munge/munge.key
  cat >/etc/slurm/slurm.conf <<CONF
ClusterName=rehearsal
SlurmctldHost=$host
SlurmUser=root
StateSaveLocation=/var/spool/slurmctld
SlurmdSpoolDir=/var/spool/slurmd
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
AccountingStorageType=accounting_storage/none
ReturnToService=2
NodeName=$host CPUs=$(nproc --all) RealMemory=$(awk '/MemAvailable/ {print int($2 / 1024)}' /proc/meminfo)
PartitionName=main Nodes=$host Default=YES MaxTime=INFINITE
CONF
  echo CgroupPlugin=disabled >/etc/slurm/cgroup.conf
  pgrep -x munged >/dev/null || runuser -u munge -- munged
  pgrep -x slurmctld >/dev/null || slurmctld
  sleep 1
  pgrep -x slurmd >/dev/null || slurmd
  for _ in $(seq 20); do sinfo --noheader --states=idle | grep -q . && return; sleep 1; done
  sinfo && exit 1
}

stop() { pkill -x slurmd || true; pkill -x slurmctld || true; pkill -x munged || true; }

remove() { stop; apt-get -qq purge -y slurm-wlm slurm-client slurmctld slurmd >/dev/null; }

"$1"
