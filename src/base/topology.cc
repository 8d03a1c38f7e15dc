#include "base/topology.h"

#ifndef FATHOM_WITHOUT_HWLOC
#include <hwloc.h>
#endif
#include <sched.h>
#include <unistd.h>

#include <algorithm>

namespace fathom {

int64_t MemoryBytes() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
}

#ifdef FATHOM_WITHOUT_HWLOC

// Every core that may be used counts, hyper-threads as well: cross builds have no hwloc.
int PhysicalCores() {
  cpu_set_t allowed;
  return sched_getaffinity(0, sizeof(allowed), &allowed) == 0 ? std::max(CPU_COUNT(&allowed), 1)
                                                              : 1;
}

int64_t CacheBytes() { return 0; }

#else

int PhysicalCores() {
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return 1;
  int cores = 1;
  if (hwloc_topology_load(topology) == 0) {
    hwloc_cpuset_t allowed = hwloc_bitmap_alloc();
    if (hwloc_get_cpubind(topology, allowed, HWLOC_CPUBIND_PROCESS) != 0)
      hwloc_bitmap_copy(allowed, hwloc_topology_get_allowed_cpuset(topology));
    int found = 0;
    for (hwloc_obj_t core = nullptr;
         (core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != nullptr;)
      found += hwloc_bitmap_intersects(core->cpuset, allowed) ? 1 : 0;
    cores = std::max(found, 1);
    hwloc_bitmap_free(allowed);
  }
  hwloc_topology_destroy(topology);
  return cores;
}

int64_t CacheBytes() {
  hwloc_topology_t topology;
  if (hwloc_topology_init(&topology) != 0) return 0;
  int64_t bytes = 0;
  if (hwloc_topology_load(topology) == 0) {
    for (const hwloc_obj_type_t level : {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE}) {
      for (hwloc_obj_t cache = nullptr;
           (cache = hwloc_get_next_obj_by_type(topology, level, cache)) != nullptr;)
        bytes += static_cast<int64_t>(cache->attr->cache.size);
      if (bytes > 0) break;
    }
  }
  hwloc_topology_destroy(topology);
  return bytes;
}

#endif

}  // namespace fathom
