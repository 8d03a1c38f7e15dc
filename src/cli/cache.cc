// fathom cache: the folder of a server's context cache for the operator: what is in it, whether it
// is sound, and making it smaller. Needs no model. The files are docs/formats/cache.md.
#include <fmt/format.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <memory>
#include <set>
#include <string>

#include "base/json.h"
#include "cache/disk_store.h"
#include "cli/commands.h"
#include "cli/exit_status.h"

namespace fathom::cli {
namespace {

constexpr int kDamaged = 1;

struct CacheOptions {
  std::string dir;
  bool is_json = false;
  bool every_record = false;
  int64_t bytes = -1;
};

// "1.2 GB" and the like; exact below a thousand.
std::string Size(int64_t bytes) {
  if (bytes < 1000) return fmt::format("{} B", bytes);
  double value = static_cast<double>(bytes);
  const char* unit = "kMGTP";
  for (value /= 1000; value >= 999.95 && unit[1] != '\0'; value /= 1000) ++unit;
  return fmt::format("{:.1f} {}B", value, *unit);
}

std::string Age(int64_t seconds) {
  if (seconds < 120) return fmt::format("{} s", seconds);
  if (seconds < 2 * 3600) return fmt::format("{} min", seconds / 60);
  if (seconds < 2 * 86400) return fmt::format("{} h", seconds / 3600);
  return fmt::format("{} d", seconds / 86400);
}

std::string Hex(uint64_t value) { return fmt::format("{:016x}", value); }

Json Complaints(const cache::DiskReport& report) {
  return Json::Array(report.complaints.begin(), report.complaints.end());
}

struct ModelShare {
  int64_t pages = 0, tails = 0, bytes = 0, longest = 0;
};

Json StatJson(const cache::DiskReport& report, const std::map<uint64_t, ModelShare>& models,
              int64_t keys) {
  Json json;
  json.Set("bytes", report.bytes);
  json.Set("records", std::ssize(report.entries));
  json.Set("keys", keys);
  Json::Array shares;
  for (const auto& [fingerprint, share] : models) {
    Json model;
    model.Set("fingerprint", Hex(fingerprint));
    model.Set("prefixes", share.tails);
    model.Set("pages", share.pages);
    model.Set("bytes", share.bytes);
    model.Set("longest_tokens", share.longest);
    shares.push_back(std::move(model));
  }
  json.Set("models", std::move(shares));
  json.Set("complaints", Complaints(report));
  return json;
}

Result<int> Stat(const CacheOptions& options) {
  FATHOM_TRY(const cache::DiskReport report,
             cache::InspectStore(options.dir, cache::Inspection::kHeaders));
  std::map<uint64_t, ModelShare> models;
  std::set<uint64_t> keys;
  int64_t oldest_s = 0;
  for (const cache::DiskEntry& entry : report.entries) {
    ModelShare& share = models[entry.fingerprint];
    ++(entry.is_tail ? share.tails : share.pages);
    share.bytes += entry.bytes;
    if (entry.is_tail) share.longest = std::max(share.longest, entry.tokens);
    keys.insert(entry.key_hash);
    oldest_s = std::max(oldest_s, entry.age_s);
  }
  if (options.is_json) {
    fmt::print("{}\n", WriteJson(StatJson(report, models, std::ssize(keys))));
    return 0;
  }
  fmt::print("{} in {} records of {} keys, the oldest {} old\n", Size(report.bytes),
             report.entries.size(), keys.size(), Age(oldest_s));
  for (const auto& [fingerprint, share] : models) {
    fmt::print("model {}: {} prefixes, the longest of {} tokens; {} pages; {}\n", Hex(fingerprint),
               share.tails, share.longest, share.pages, Size(share.bytes));
  }
  if (!report.complaints.empty()) {
    fmt::print("{} damaged or foreign stretches; fathom cache verify shows them\n",
               report.complaints.size());
  }
  return 0;
}

Json EntryJson(const cache::DiskEntry& entry) {
  Json json;
  json.Set("segment", entry.segment);
  json.Set("offset", entry.offset);
  json.Set("bytes", entry.bytes);
  json.Set("kind", entry.is_tail ? "tail" : "page");
  json.Set("tokens", entry.tokens);
  json.Set("fingerprint", Hex(entry.fingerprint));
  json.Set("key_hash", Hex(entry.key_hash));
  json.Set("age_s", entry.age_s);
  return json;
}

Result<int> List(const CacheOptions& options) {
  FATHOM_TRY(const cache::DiskReport report,
             cache::InspectStore(options.dir, cache::Inspection::kHeaders));
  Json::Array entries;
  if (!options.is_json) {
    fmt::print("{:<21}  {:>12}  {:>10}  kind  {:>9}  {:<16}  {:<16}  age\n", "segment", "offset",
               "bytes", "tokens", "model", "key");
  }
  for (const cache::DiskEntry& entry : report.entries) {
    if (!entry.is_tail && !options.every_record) continue;
    if (options.is_json) {
      entries.push_back(EntryJson(entry));
      continue;
    }
    fmt::print("{}  {:>12}  {:>10}  {}  {:>9}  {}  {}  {}\n", entry.segment, entry.offset,
               entry.bytes, entry.is_tail ? "tail" : "page", entry.tokens, Hex(entry.fingerprint),
               Hex(entry.key_hash), Age(entry.age_s));
  }
  if (options.is_json) fmt::print("{}\n", WriteJson(entries));
  return 0;
}

Result<int> Verify(const CacheOptions& options) {
  FATHOM_TRY(const cache::DiskReport report,
             cache::InspectStore(options.dir, cache::Inspection::kPayloads));
  if (options.is_json) {
    Json json;
    json.Set("sound_records", std::ssize(report.entries));
    json.Set("bytes", report.bytes);
    json.Set("complaints", Complaints(report));
    fmt::print("{}\n", WriteJson(json));
  } else {
    for (const std::string& complaint : report.complaints) fmt::print("{}\n", complaint);
    fmt::print("{}: {} sound records, {} damaged or foreign stretches\n", Size(report.bytes),
               report.entries.size(), report.complaints.size());
  }
  return report.complaints.empty() ? 0 : kDamaged;
}

Result<int> Prune(const CacheOptions& options) {
  FATHOM_TRY(const int64_t removed, cache::PruneStore(options.dir, options.bytes));
  if (options.is_json) {
    Json json;
    json.Set("removed_bytes", removed);
    fmt::print("{}\n", WriteJson(json));
  } else {
    fmt::print("{} removed\n", Size(removed));
  }
  return 0;
}

using Job = Result<int> (*)(const CacheOptions&);

CLI::App* AddJob(CLI::App& parent, const std::string& name, const std::string& what,
                 const std::shared_ptr<CacheOptions>& options, int& exit_code, Job job) {
  CLI::App* const command = parent.add_subcommand(name, what);
  command->add_option("dir", options->dir, "The folder (fathom serve --cache-dir)")
      ->required()
      ->type_name("DIR");
  command->add_flag("--json", options->is_json, "One JSON value instead of text");
  command->callback(
      [options, name, job, &exit_code] { exit_code = ExitStatus("cache " + name, job(*options)); });
  return command;
}

}  // namespace

void RegisterCache(CLI::App& app, int& exit_code) {
  CLI::App* const command = app.add_subcommand(
      "cache",
      "Look into the context cache that a server keeps on disk, check it, make it smaller");
  command->require_subcommand(1);
  command->footer(
      "The files are described in docs/formats/cache.md.\n"
      "Examples:\n"
      "  fathom cache stat /var/cache/fathom\n"
      "  fathom cache verify /var/cache/fathom --json\n"
      "  fathom cache prune /var/cache/fathom --bytes 20GB");
  auto options = std::make_shared<CacheOptions>();  // shared with the callbacks
  AddJob(*command, "stat", "How much is stored, of which models", options, exit_code, Stat)
      ->footer("Example: fathom cache stat /var/cache/fathom");
  CLI::App* const list =
      AddJob(*command, "list", "The prefixes that can be continued", options, exit_code, List);
  list->add_flag("--all", options->every_record, "Every record, pages too");
  list->footer("Example: fathom cache list /var/cache/fathom --all");
  AddJob(*command, "verify", "Read everything; exit status 1 when something is damaged", options,
         exit_code, Verify)
      ->footer("Example: fathom cache verify /var/cache/fathom");
  CLI::App* const prune = AddJob(
      *command, "prune", "Delete whole segments, the longest unused first, while no server runs",
      options, exit_code, Prune);
  prune->add_option("--bytes", options->bytes, "How much may stay: 500MB, 20GB, 0")
      ->required()
      ->transform(CLI::AsSizeValue(true))
      ->type_name("BYTES");
  prune->footer("Example: fathom cache prune /var/cache/fathom --bytes 20GB");
}

}  // namespace fathom::cli
