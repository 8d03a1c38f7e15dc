// A client that says exactly the bytes it is told, for tests of the HTTP server: no library would
// send what a hostile or broken peer sends. Answers are parsed strictly; what is wrong with one is
// a test failure.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "server/http.h"

namespace fathom::http_tests {

struct Response {
  int status = 0;  // 0: there was none
  server::Headers headers;
  std::string body;
  std::vector<std::string> chunks;
  bool is_complete = false;  // the body ended as its head had announced

  std::string_view Header(std::string_view name) const;
};

class Client {
 public:
  static Client Tcp(int port);
  // One that need not find anybody. `receive_bytes`: how much the kernel takes in before it is
  // read; 0: as it likes.
  static Client Try(int port, int receive_bytes = 0);
  static Client Unix(const std::string& path);
  ~Client();
  Client(Client&& other) noexcept;
  Client& operator=(Client&&) = delete;

  int fd() const { return fd_; }
  bool is_connected() const { return fd_ >= 0; }
  // False when the server has closed.
  bool Send(std::string_view bytes);
  // The next answer; one to HEAD has no body.
  Response Read(bool answers_head = false);
  // Until so many more bytes are there; false when the server closes before.
  bool WaitForBytes(size_t count);
  // Whatever comes until `text` has come, or nothing more does.
  std::string ReadUntil(std::string_view text);
  // Whether the server closes within the time, sending no more. The bytes it does send are lost.
  bool IsClosed(double within_s = 10);
  void ShutDownSending();
  void Close();
  void Reset();  // closes so that the server sees an error

 private:
  explicit Client(int fd) : fd_(fd) {}
  bool Receive();
  bool ReadLine(std::string& line);
  bool ReadBytes(size_t count, std::string& bytes);
  void ReadChunks(Response& response);

  int fd_;
  std::string unread_;
};

// A server on a free port, with what a test changes of the options.
std::unique_ptr<server::HttpServer> Serve(server::Handler handler,
                                          server::HttpOptions options = {});

// Sends back method, path, query and body, each on a line.
void Echo(server::HttpRequest request, const std::shared_ptr<server::Exchange>& exchange);

// A GET with a Host and those header lines ("name: value\r\n").
std::string Get(std::string_view target, std::string_view headers = "");

// Waits until the condition holds; false after `within_s`.
bool Eventually(const std::function<bool()>& condition, double within_s = 10);

}  // namespace fathom::http_tests
