// Beast's push parser, kept on a short lead: it neither bounds a head that arrives in pieces nor
// refuses what another server in front might read differently, so both is done here.
#include "server/http_parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <boost/beast/http/basic_parser.hpp>
#include <boost/beast/http/error.hpp>

namespace fathom::server {
namespace {

namespace http = boost::beast::http;
using ErrorCode = boost::beast::error_code;
using boost::beast::string_view;

// A body of that length is reserved at once; a longer one grows as it comes, so that a claim of
// 64 MiB costs the sender 64 MiB first.
constexpr uint64_t kBodyReserveBytesMax = 256 << 10;
// A chunk's size line with its extension, or all trailers.
constexpr int64_t kChunkLineBytesMax = 16 << 10;

std::string Lower(string_view text) {
  std::string lower(text.data(), text.size());
  for (char& c : lower)
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  return lower;
}

int HexDigit(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  if (c >= 'a' && c <= 'f') return c - 'a' + 10;
  if (c >= 'A' && c <= 'F') return c - 'A' + 10;
  return -1;
}

}  // namespace

bool DecodePath(std::string_view encoded, std::string& path) {
  path.clear();
  for (size_t i = 0; i < encoded.size(); ++i) {
    char c = encoded[i];
    if (c == '%') {
      if (encoded.size() - i < 3) return false;
      const int high = HexDigit(encoded[i + 1]);
      const int low = HexDigit(encoded[i + 2]);
      if (high < 0 || low < 0) return false;
      c = static_cast<char>(high * 16 + low);
      i += 2;
    }
    if (c == '\0') return false;
    path.push_back(c);
  }
  return true;
}

class RequestParser::State final : public http::basic_parser<true> {
 public:
  State(int64_t header_bytes_max, int64_t body_bytes_max) : header_bytes_max_(header_bytes_max) {
    header_limit(static_cast<uint32_t>(std::min<int64_t>(header_bytes_max, 1 << 30)));
    body_limit(static_cast<uint64_t>(body_bytes_max));
    eager(true);
  }

  int64_t Feed(std::string_view bytes) {
    ErrorCode ec;
    const auto taken = static_cast<int64_t>(put({bytes.data(), bytes.size()}, ec));
    const int64_t rest = static_cast<int64_t>(bytes.size()) - taken;
    if (ec && ec != http::error::need_more) {
      Fail(ec);
    } else if (!is_header_done()) {
      if (head_bytes_ + rest > header_bytes_max_) Fail(http::error::header_limit);
    } else if (!is_done() && rest > kChunkLineBytesMax) {
      Fail(http::error::bad_chunk_extension);
    }
    return taken;
  }

  void Refuse(int status, std::string message) {
    if (status_ != 0) return;
    status_ = status;
    message_ = std::move(message);
  }

  HttpRequest request;
  int version = 11;
  bool expects_continue = false;
  int status_ = 0;
  std::string message_;

 private:
  void Fail(ErrorCode ec) {
    if (ec == http::error::header_limit) {
      Refuse(431, fmt::format("the request's head is larger than {} bytes", header_bytes_max_));
    } else if (ec == http::error::body_limit) {
      Refuse(413, "the request's body is too large");
    } else {
      Refuse(400, fmt::format("not an HTTP/1.1 request: {}", ec.message()));
    }
  }

  // Stops Beast's parser; the reason is kept here.
  void Stop(ErrorCode& ec, std::string message) {
    Refuse(400, std::move(message));
    ec = http::error::bad_value;
  }

  void on_request_impl(http::verb, string_view method, string_view target, int http_version,
                       ErrorCode& ec) override {
    version = http_version;
    head_bytes_ = static_cast<int64_t>(method.size() + target.size()) + 12;  // " ", " HTTP/1.1\r\n"
    request.method.assign(method.data(), method.size());
    for (char& c : request.method)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    std::string_view rest(target.data(), target.size());
    // The absolute form, as sent to proxies.
    if (const size_t scheme = rest.find("://");
        scheme != rest.npos && !rest.starts_with('/') && rest.find('?') > scheme) {
      rest.remove_prefix(scheme + 3);
      rest.remove_prefix(std::min(rest.find_first_of("/?"), rest.size()));
      if (!rest.starts_with('/')) rooted_.push_back('/');
      rooted_.append(rest);
      rest = rooted_;
    } else if (rest == "*" && request.method == "OPTIONS") {
      rest = "/";
    }
    rest = rest.substr(0, rest.find('#'));
    const size_t mark = std::min(rest.find('?'), rest.size());
    if (mark < rest.size()) request.query = rest.substr(mark + 1);
    if (!rest.starts_with('/') || !DecodePath(rest.substr(0, mark), request.path))
      Stop(ec, "the request's target is not a path");
  }

  void on_field_impl(http::field field, string_view name, string_view value,
                     ErrorCode& ec) override {
    if (is_header_done()) return;  // a trailer: nobody asks for them
    head_bytes_ += static_cast<int64_t>(name.size() + value.size()) + 4;
    if (head_bytes_ > header_bytes_max_) ec = http::error::header_limit;
    if (field == http::field::host && ++hosts_ > 1) Stop(ec, "more than one Host");
    if (field == http::field::transfer_encoding) has_transfer_encoding_ = true;
    if (field == http::field::expect && Lower(value) == "100-continue")
      expects_continue = version >= 11;
    request.headers.emplace_back(Lower(name), std::string(value.data(), value.size()));
  }

  void on_header_impl(ErrorCode& ec) override {
    if (version >= 11 && hosts_ == 0) return Stop(ec, "no Host");
    // Anything but "chunked" alone would leave the length of the body open.
    if (has_transfer_encoding_ &&
        (!chunked() || Lower(request.Header("transfer-encoding")) != "chunked"))
      return Stop(ec, "a transfer-encoding other than chunked");
  }

  void on_body_init_impl(const boost::optional<uint64_t>& length, ErrorCode&) override {
    if (length) request.body.reserve(std::min(*length, kBodyReserveBytesMax));
  }
  size_t on_body_impl(string_view bytes, ErrorCode&) override {
    request.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  void on_chunk_header_impl(uint64_t, string_view, ErrorCode&) override {}
  size_t on_chunk_body_impl(uint64_t, string_view bytes, ErrorCode&) override {
    request.body.append(bytes.data(), bytes.size());
    return bytes.size();
  }
  void on_finish_impl(ErrorCode&) override {}
  void on_response_impl(int, string_view, int, ErrorCode&) override {}

  int64_t header_bytes_max_;
  int64_t head_bytes_ = 0;  // of the lines taken so far
  int hosts_ = 0;
  bool has_transfer_encoding_ = false;
  std::string rooted_;
};

RequestParser::RequestParser(int64_t header_bytes_max, int64_t body_bytes_max)
    : state_(std::make_unique<State>(header_bytes_max, body_bytes_max)) {}
RequestParser::~RequestParser() = default;
RequestParser::RequestParser(RequestParser&&) noexcept = default;
RequestParser& RequestParser::operator=(RequestParser&&) noexcept = default;

int64_t RequestParser::Feed(std::string_view bytes) { return state_->Feed(bytes); }
bool RequestParser::is_head_done() const { return state_->is_header_done(); }
bool RequestParser::is_done() const { return state_->is_done() && !failed(); }
bool RequestParser::failed() const { return state_->status_ != 0; }
int RequestParser::status() const { return state_->status_; }
const std::string& RequestParser::message() const { return state_->message_; }
bool RequestParser::is_http_1_0() const { return state_->version < 11; }
bool RequestParser::is_head_method() const { return state_->request.method == "HEAD"; }
bool RequestParser::keep_alive() const { return state_->keep_alive(); }
bool RequestParser::expects_continue() const { return state_->expects_continue; }
int64_t RequestParser::body_bytes() const {
  return static_cast<int64_t>(state_->request.body.size());
}
HttpRequest RequestParser::TakeRequest() { return std::move(state_->request); }

}  // namespace fathom::server
