// The only file that knows hwloc, and its twin without. Binding a thread is one system call and
// done by hand; hwloc tells what the machine looks like and where memory goes.
#include "base/topology.h"

#ifndef FATHOM_WITHOUT_HWLOC
#include <hwloc.h>
#endif
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <memory>

#include "base/check.h"
#include "base/file.h"

namespace fathom {
namespace {

// Processors that an affinity mask can name here: eight times what glibc's fixed mask holds.
constexpr int kCpusMax = 8192;

struct FreeCpuMask {
  void operator()(cpu_set_t* mask) const { CPU_FREE(mask); }
};
using CpuMask = std::unique_ptr<cpu_set_t, FreeCpuMask>;

constexpr size_t kCpuMaskBytes = CPU_ALLOC_SIZE(kCpusMax);

CpuMask EmptyMask() {
  CpuMask mask(CPU_ALLOC(kCpusMax));
  FATHOM_CHECK(mask != nullptr, "out of memory");
  CPU_ZERO_S(kCpuMaskBytes, mask.get());
  return mask;
}

// The number that `text` begins with, after blanks; -1 when there is none.
int64_t LeadingNumber(std::string_view text) {
  text.remove_prefix(std::min(text.find_first_not_of(" \t"), text.size()));
  int64_t value = 0;
  const auto [end, status] = std::from_chars(text.data(), text.data() + text.size(), value);
  return status == std::errc() && end != text.data() ? value : -1;
}

// The number after `name` in a text of lines "name number ..."; -1 when it is not there.
int64_t Field(std::string_view text, std::string_view name) {
  for (size_t at = 0; at < text.size(); at = std::min(text.find('\n', at), text.size()) + 1) {
    const std::string_view line = text.substr(at);
    if (line.starts_with(name)) return LeadingNumber(line.substr(name.size()));
  }
  return -1;
}

// The number that a file begins with; -1 when there is none, as for a limit of "max".
int64_t NumberIn(const std::string& path) {
  const auto text = ReadFile(path);
  return text.ok() ? LeadingNumber(text.value()) : -1;
}

// What is left to this process's control group and those above it, the least of them, pages of
// files that can be dropped included; -1: no limit.
int64_t ControlGroupBytes(const std::string& proc, const std::string& groups) {
  const auto own = ReadFile(proc + "/self/cgroup");
  if (!own.ok()) return -1;
  const std::string& text = own.value();
  const size_t line = text.starts_with("0::") ? 0 : text.find("\n0::");
  if (line == text.npos) return -1;
  const size_t begin = text.find('/', line);
  if (begin == text.npos) return -1;
  std::string group = text.substr(begin, text.find('\n', begin) - begin);
  int64_t least = -1;
  for (;;) {
    if (group == "/") group.clear();
    const std::string folder = groups + group;
    const int64_t limit = NumberIn(folder + "/memory.max");
    if (limit >= 0) {
      const auto stat = ReadFile(folder + "/memory.stat");
      const int64_t used = std::max<int64_t>(0, NumberIn(folder + "/memory.current"));
      const int64_t files = stat.ok() ? std::max<int64_t>(0, Field(stat.value(), "file ")) : 0;
      const int64_t left = std::max<int64_t>(0, limit - used + files);
      least = least < 0 ? left : std::min(least, left);
    }
    if (group.empty()) return least;
    group.resize(group.rfind('/'));
  }
}

// Deals `threads` out to nodes with room for `room` of them each, one by one in turn.
void DealOut(const std::vector<int>& room, int64_t threads, std::vector<size_t>& node_of_thread) {
  std::vector<int> used(room.size());
  const int64_t end = std::ssize(node_of_thread) + threads;
  for (size_t node = 0; std::ssize(node_of_thread) < end; node = (node + 1) % room.size()) {
    if (used[node] == room[node]) continue;
    ++used[node];
    node_of_thread.push_back(node);
  }
}

// The places of `count` threads on the cores of one node.
std::vector<CpuSet> PlacesOnNode(const std::vector<const Core*>& cores, size_t count) {
  std::vector<CpuSet> places;
  if (count <= cores.size()) {
    for (size_t i = 0; i < count; ++i) places.push_back(cores[i * cores.size() / count]->cpus);
    return places;
  }
  for (size_t sibling = 0; places.size() < count; ++sibling)
    for (const Core* core : cores)
      if (sibling < core->cpus.size() && places.size() < count)
        places.push_back({core->cpus[sibling]});
  return places;
}

}  // namespace

std::vector<CpuSet> PlaceThreads(const Machine& machine, int threads) {
  FATHOM_CHECK_GE(threads, 1);
  std::vector<std::vector<const Core*>> cores(static_cast<size_t>(machine.nodes));
  std::vector<int> core_room(cores.size()), sibling_room(cores.size());
  int64_t siblings = 0;  // hyper-threads beyond the first of their core
  for (const Core& core : machine.cores) {
    const auto node = static_cast<size_t>(core.node);
    const int others = static_cast<int>(core.cpus.size()) - 1;
    cores[node].push_back(&core);
    ++core_room[node];
    sibling_room[node] += others;
    siblings += others;
  }
  const int64_t on_cores = std::min<int64_t>(threads, std::ssize(machine.cores));
  if (threads - on_cores > siblings) return {};
  std::vector<size_t> node_of_thread;
  DealOut(core_room, on_cores, node_of_thread);
  DealOut(sibling_room, threads - on_cores, node_of_thread);
  std::vector<std::vector<CpuSet>> places;
  for (size_t node = 0; node < cores.size(); ++node) {
    const auto count = std::count(node_of_thread.begin(), node_of_thread.end(), node);
    places.push_back(PlacesOnNode(cores[node], static_cast<size_t>(count)));
  }
  std::vector<size_t> next(cores.size());
  std::vector<CpuSet> of_thread;
  for (const size_t node : node_of_thread) of_thread.push_back(places[node][next[node]++]);
  return of_thread;
}

CpuSet ThisThreadCpus() {
  const CpuMask mask = EmptyMask();
  CpuSet cpus;
  if (sched_getaffinity(0, kCpuMaskBytes, mask.get()) != 0) return cpus;
  for (int cpu = 0; cpu < kCpusMax; ++cpu)
    if (CPU_ISSET_S(static_cast<size_t>(cpu), kCpuMaskBytes, mask.get())) cpus.push_back(cpu);
  return cpus;
}

bool BindThisThread(const CpuSet& cpus) {
  const CpuMask mask = EmptyMask();
  for (const int cpu : cpus)
    if (cpu >= 0 && cpu < kCpusMax) CPU_SET_S(static_cast<size_t>(cpu), kCpuMaskBytes, mask.get());
  return sched_setaffinity(0, kCpuMaskBytes, mask.get()) == 0;
}

int PhysicalCores() { return static_cast<int>(ThisMachine().cores.size()); }

int64_t MemoryBytes() {
  return static_cast<int64_t>(sysconf(_SC_PHYS_PAGES)) * sysconf(_SC_PAGE_SIZE);
}

int64_t AvailableMemoryBytes(const std::string& proc, const std::string& groups) {
  const auto meminfo = ReadFile(proc + "/meminfo");
  const int64_t kilobytes = meminfo.ok() ? Field(meminfo.value(), "MemAvailable:") : -1;
  const int64_t bytes = kilobytes < 0 ? MemoryBytes() / 2 : kilobytes * 1024;
  const int64_t limit = ControlGroupBytes(proc, groups);
  return limit < 0 ? bytes : std::min(bytes, limit);
}

#ifdef FATHOM_WITHOUT_HWLOC

Machine ThisMachine() {
  Machine machine;
  for (const int cpu : ThisThreadCpus()) machine.cores.push_back({0, {cpu}});
  if (machine.cores.empty()) machine.cores.push_back({0, {0}});
  return machine;
}

Result<Machine> DescribedMachine(const std::string&) {
  return Error{"machines by description: this build has no hwloc"};
}

void InterleaveThisThread() {}

int64_t CacheBytes() { return 0; }

#else

namespace {

struct DestroyTopology {
  void operator()(hwloc_topology_t topology) const { hwloc_topology_destroy(topology); }
};
using Topology = std::unique_ptr<hwloc_topology, DestroyTopology>;
struct FreeBitmap {
  void operator()(hwloc_bitmap_t bitmap) const { hwloc_bitmap_free(bitmap); }
};
using Bitmap = std::unique_ptr<hwloc_bitmap_s, FreeBitmap>;

// Not loaded yet; null: out of memory.
Topology NewTopology() {
  hwloc_topology_t topology = nullptr;
  return Topology(hwloc_topology_init(&topology) == 0 ? topology : nullptr);
}

// This machine; null when hwloc cannot tell.
Topology LoadTopology() {
  Topology topology = NewTopology();
  if (topology != nullptr && hwloc_topology_load(topology.get()) != 0) topology.reset();
  return topology;
}

Bitmap AllowedCpus(hwloc_topology_t topology) {
  Bitmap allowed(hwloc_bitmap_alloc());
  if (!hwloc_topology_is_thissystem(topology) ||
      hwloc_get_cpubind(topology, allowed.get(), HWLOC_CPUBIND_PROCESS) != 0)
    hwloc_bitmap_copy(allowed.get(), hwloc_topology_get_allowed_cpuset(topology));
  return allowed;
}

Machine Describe(hwloc_topology_t topology) {
  const Bitmap allowed = AllowedCpus(topology);
  const Bitmap cpus(hwloc_bitmap_alloc());
  std::vector<int> nodes;  // the system's numbers, in the order of their first core
  Machine machine;
  for (hwloc_obj_t core = nullptr;
       (core = hwloc_get_next_obj_by_type(topology, HWLOC_OBJ_CORE, core)) != nullptr;) {
    hwloc_bitmap_and(cpus.get(), core->cpuset, allowed.get());
    if (hwloc_bitmap_iszero(cpus.get())) continue;
    // A core may have two memories, a fast and a large one; they count as one place.
    const int node = hwloc_bitmap_first(core->nodeset);
    auto place = std::find(nodes.begin(), nodes.end(), node);
    if (place == nodes.end()) place = nodes.insert(nodes.end(), node);
    Core found{static_cast<int>(place - nodes.begin()), {}};
    for (int cpu = hwloc_bitmap_first(cpus.get()); cpu >= 0;
         cpu = hwloc_bitmap_next(cpus.get(), cpu))
      found.cpus.push_back(cpu);
    machine.cores.push_back(std::move(found));
  }
  std::stable_sort(machine.cores.begin(), machine.cores.end(),
                   [](const Core& a, const Core& b) { return a.node < b.node; });
  machine.nodes = std::max(static_cast<int>(nodes.size()), 1);
  return machine;
}

}  // namespace

Machine ThisMachine() {
  Machine machine;
  if (const Topology topology = LoadTopology()) machine = Describe(topology.get());
  if (machine.cores.empty()) machine.cores.push_back({0, ThisThreadCpus()});
  return machine;
}

Result<Machine> DescribedMachine(const std::string& description) {
  const Topology topology = NewTopology();
  if (topology == nullptr ||
      hwloc_topology_set_synthetic(topology.get(), description.c_str()) != 0 ||
      hwloc_topology_load(topology.get()) != 0)
    return Error{"machine: hwloc refuses the description \"" + description + "\""};
  return Describe(topology.get());
}

void InterleaveThisThread() {
  const Topology topology = LoadTopology();
  if (topology == nullptr) return;
  const Bitmap allowed = AllowedCpus(topology.get());
  const Bitmap nodes(hwloc_bitmap_alloc());
  hwloc_cpuset_to_nodeset(topology.get(), allowed.get(), nodes.get());
  if (hwloc_bitmap_weight(nodes.get()) < 2) return;
  (void)hwloc_set_membind(topology.get(), nodes.get(), HWLOC_MEMBIND_INTERLEAVE,
                          HWLOC_MEMBIND_THREAD | HWLOC_MEMBIND_BYNODESET);
}

int64_t CacheBytes() {
  const Topology topology = LoadTopology();
  if (topology == nullptr) return 0;
  int64_t bytes = 0;
  for (const hwloc_obj_type_t level : {HWLOC_OBJ_L3CACHE, HWLOC_OBJ_L2CACHE}) {
    for (hwloc_obj_t cache = nullptr;
         (cache = hwloc_get_next_obj_by_type(topology.get(), level, cache)) != nullptr;)
      bytes += static_cast<int64_t>(cache->attr->cache.size);
    if (bytes > 0) break;
  }
  return bytes;
}

#endif

int64_t FirstCacheBytes() {
#ifdef _SC_LEVEL1_DCACHE_SIZE
  return std::max<int64_t>(0, sysconf(_SC_LEVEL1_DCACHE_SIZE));
#else
  return 0;
#endif
}

}  // namespace fathom
