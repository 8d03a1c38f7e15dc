// What this machine is - cores, memory nodes, memory - and where threads and pages go on it. The
// placement is a pure function of a description, so that machines which are not here can be tested.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace fathom {

// The system's numbers of logical processors, ascending.
using CpuSet = std::vector<int>;

struct Core {
  int node = 0;  // of the memory beside it, counted from 0 among those of Machine::cores
  CpuSet cpus;   // its hyper-threads that may be used, at least one
};

struct Machine {
  int nodes = 1;
  std::vector<Core> cores;  // at least one, nodes ascending
};

// What this process may run on (its affinity mask, not the whole machine). A build without hwloc
// sees one node and takes every logical processor for a core.
Machine ThisMachine();
// A described one, "node:2 core:4 pu:2" (hwloc's synthetic topologies). Errors: a description that
// hwloc refuses; a build without it.
Result<Machine> DescribedMachine(const std::string& description);

// Where `threads` threads (>= 1) are to run: the processors of each. Nodes take turns, threads are
// spread evenly over the cores of a node, and hyper-threads are used once every core has a thread
// (until then a thread may move between those of its core). Empty: more threads than processors,
// which only the system can share out.
std::vector<CpuSet> PlaceThreads(const Machine& machine, int threads);

// Affinity of the calling thread. Binding is best effort: a thread that may not go where it should
// stays where it is (false).
CpuSet ThisThreadCpus();
bool BindThisThread(const CpuSet& cpus);

// From now on, pages that the calling thread is the first to touch, or to read into the file cache,
// are dealt out in turn to the memories beside the cores that this process may use. Does nothing
// when there is only one. Best effort.
void InterleaveThisThread();

// Physical cores this process may run on; at least 1.
int PhysicalCores();

// Main memory of the machine, in bytes.
int64_t MemoryBytes();

// What can be had of it now without swapping: free memory and what the file cache would give back,
// and no more than is left to this process's control groups. Half of MemoryBytes() if the system
// does not say. `proc` and `groups` are the folders to look in.
int64_t AvailableMemoryBytes(const std::string& proc = "/proc",
                             const std::string& groups = "/sys/fs/cgroup");

// The last level of cache, all of it together, in bytes; 0 when the machine does not say.
int64_t CacheBytes();
// The data cache nearest to a core, of one core, in bytes; 0 when the system does not say.
int64_t FirstCacheBytes();

}  // namespace fathom
