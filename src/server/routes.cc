#include "server/routes.h"

#include <array>

namespace fathom::server {
namespace {

using api::Dialect;

// Takes a leading "/name" off when a whole path segment is that.
bool TakePrefix(std::string_view& path, std::string_view prefix) {
  if (!path.starts_with(prefix)) return false;
  const std::string_view rest = path.substr(prefix.size());
  if (!rest.empty() && rest[0] != '/') return false;
  path = rest;
  return true;
}

struct Fixed {
  std::string_view path;
  std::string_view method;
  RouteKind kind;
  Dialect dialect;
};

// Without the prefixes.
constexpr std::array kFixed = {
    Fixed{"/chat/completions", "POST", RouteKind::kGenerate, Dialect::kChat},
    Fixed{"/completions", "POST", RouteKind::kGenerate, Dialect::kCompletions},
    Fixed{"/messages", "POST", RouteKind::kGenerate, Dialect::kAnthropic},
    Fixed{"/messages/count_tokens", "POST", RouteKind::kCountTokens, Dialect::kAnthropic},
    Fixed{"/responses", "POST", RouteKind::kGenerate, Dialect::kResponses},
    Fixed{"/responses/input_tokens", "POST", RouteKind::kCountTokens, Dialect::kResponses},
    Fixed{"/responses/compact", "POST", RouteKind::kStored, Dialect::kResponses},
    Fixed{"/models", "GET", RouteKind::kModels, Dialect::kChat},
    Fixed{"/user/balance", "GET", RouteKind::kBalance, Dialect::kChat},
    Fixed{"/health", "GET", RouteKind::kHealth, Dialect::kChat},
    Fixed{"/healthz", "GET", RouteKind::kHealth, Dialect::kChat},
    Fixed{"", "GET", RouteKind::kAlive, Dialect::kChat},
    Fixed{"/", "GET", RouteKind::kAlive, Dialect::kChat},
};

bool MethodFits(std::string_view method, std::string_view wanted) {
  return method == wanted || (wanted == "GET" && method == "HEAD");
}

Route WithMethod(Route route, std::string_view method, std::string_view wanted) {
  if (MethodFits(method, wanted)) return route;
  route.kind = RouteKind::kWrongMethod;
  route.allow = wanted == "GET" ? "GET, HEAD, OPTIONS" : std::string(wanted) + ", OPTIONS";
  return route;
}

// /responses/ID and /responses/ID/input_items: nothing is stored.
bool IsStoredResponse(std::string_view path) {
  if (!TakePrefix(path, "/responses") || path.size() < 2) return false;
  path.remove_prefix(1);
  const size_t slash = path.find('/');
  return slash == path.npos || path.substr(slash) == "/input_items";
}

}  // namespace

Route FindRoute(std::string_view method, std::string_view path) {
  Route route;
  route.is_beta = TakePrefix(path, "/beta");
  if (TakePrefix(path, "/anthropic")) {
    route.wants_anthropic = true;
    route.dialect = Dialect::kAnthropic;
  }
  TakePrefix(path, "/v1");
  if (path.size() > 1 && path.ends_with('/')) path.remove_suffix(1);
  if (method == "OPTIONS") {
    route.kind = RouteKind::kPreflight;
    return route;
  }
  for (const Fixed& fixed : kFixed) {
    if (path != fixed.path) continue;
    // Below /anthropic there are messages, models and the root.
    if (route.wants_anthropic && fixed.dialect != Dialect::kAnthropic &&
        fixed.kind != RouteKind::kModels && fixed.kind != RouteKind::kAlive)
      return route;
    route.kind = fixed.kind;
    if (!route.wants_anthropic) route.dialect = fixed.dialect;
    return WithMethod(route, method, fixed.method);
  }
  if (TakePrefix(path, "/models") && path.size() > 1) {
    route.kind = RouteKind::kModel;
    route.id = path.substr(1);
    return WithMethod(route, method, "GET");
  }
  if (!route.wants_anthropic && IsStoredResponse(path)) {
    route.dialect = Dialect::kResponses;
    route.kind = RouteKind::kStored;
    if (method != "GET" && method != "HEAD" && method != "DELETE") {
      route.kind = RouteKind::kWrongMethod;
      route.allow = "GET, DELETE, OPTIONS";
    }
  }
  return route;
}

}  // namespace fathom::server
