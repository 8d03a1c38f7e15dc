// The server behind TLS, with a certificate made here.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/ssl.h>
#include <openssl/x509.h>

#include <atomic>
#include <cstdio>
#include <fstream>
#include <memory>

#include "base/folder_testing.h"
#include "tests/http/client.h"

namespace fathom::http_tests {
namespace {

using server::Exchange;
using server::HttpOptions;
using server::HttpRequest;
using server::HttpServer;
using testing::EndsWith;
using testing::HasSubstr;

using ExchangePtr = std::shared_ptr<Exchange>;

template <auto free>
struct Free {
  template <typename T>
  void operator()(T* object) const {
    free(object);
  }
};
using Key = std::unique_ptr<EVP_PKEY, Free<EVP_PKEY_free>>;
using Certificate = std::unique_ptr<X509, Free<X509_free>>;
using File = std::unique_ptr<std::FILE, Free<std::fclose>>;

class HttpTlsTest : public testing::Test {
 protected:
  void SetUp() override {
    options_.tls_cert = folder_ / "cert.pem";
    options_.tls_key = folder_ / "key.pem";
    const Key key(EVP_EC_gen("P-256"));
    const Certificate certificate(X509_new());
    ASN1_INTEGER_set(X509_get_serialNumber(certificate.get()), 1);
    X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -3600);
    X509_gmtime_adj(X509_getm_notAfter(certificate.get()), 3600);
    X509_set_pubkey(certificate.get(), key.get());
    X509_NAME* name = X509_get_subject_name(certificate.get());
    X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_ASC,
                               reinterpret_cast<const unsigned char*>("localhost"), -1, -1, 0);
    X509_set_issuer_name(certificate.get(), name);
    ASSERT_GT(X509_sign(certificate.get(), key.get(), EVP_sha256()), 0);
    const File cert_file(std::fopen(options_.tls_cert.c_str(), "w"));
    ASSERT_EQ(PEM_write_X509(cert_file.get(), certificate.get()), 1);
    const File key_file(std::fopen(options_.tls_key.c_str(), "w"));
    ASSERT_EQ(
        PEM_write_PrivateKey(key_file.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr), 1);
  }

  const TempFolder folder_;
  HttpOptions options_;
};

// A client behind TLS; it believes any certificate.
class TlsClient {
 public:
  explicit TlsClient(int port)
      : client_(Client::Tcp(port)), context_(SSL_CTX_new(TLS_client_method())) {
    ssl_.reset(SSL_new(context_.get()));
    SSL_set_fd(ssl_.get(), client_.fd());
    EXPECT_EQ(SSL_connect(ssl_.get()), 1);
  }

  void Send(std::string_view bytes) {
    EXPECT_EQ(SSL_write(ssl_.get(), bytes.data(), static_cast<int>(bytes.size())),
              static_cast<int>(bytes.size()));
  }
  // Until that text, or until the end.
  std::string ReadUntil(std::string_view text) {
    std::string all;
    char buffer[16384];
    while (all.find(text) == all.npos) {
      const int bytes = SSL_read(ssl_.get(), buffer, sizeof buffer);
      if (bytes <= 0) break;
      all.append(buffer, static_cast<size_t>(bytes));
    }
    return all;
  }
  // Whether the server said that it has ended, which a cut connection does not.
  bool IsEnded() {
    char byte = 0;
    const int bytes = SSL_read(ssl_.get(), &byte, 1);
    return bytes <= 0 && SSL_get_error(ssl_.get(), bytes) == SSL_ERROR_ZERO_RETURN;
  }
  Client& client() { return client_; }

 private:
  Client client_;
  std::unique_ptr<SSL_CTX, Free<SSL_CTX_free>> context_;
  std::unique_ptr<SSL, Free<SSL_free>> ssl_;
};

TEST_F(HttpTlsTest, AnswersAndKeepsTheConnection) {
  const auto server = Serve(Echo, options_);
  TlsClient client(server->port());
  for (int i = 0; i < 3; ++i) {
    client.Send(Get("/a"));
    EXPECT_THAT(client.ReadUntil("GET\n/a\n\n"), EndsWith("GET\n/a\n\n"));
  }
  const std::string body(200000, 'b');
  client.Send("POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n" + body);
  EXPECT_THAT(client.ReadUntil(body), EndsWith(body));
}

TEST_F(HttpTlsTest, StreamsAndEnds) {
  const auto server = Serve(
      [](const HttpRequest&, const ExchangePtr& exchange) {
        exchange->Start(200, {});
        exchange->Write("first");
        exchange->Post(
            [exchange] {
              exchange->Write("second");
              exchange->End();
            },
            0.05);
      },
      options_);
  TlsClient client(server->port());
  client.Send(Get("/") + Get("/", "Connection: close\r\n"));
  EXPECT_THAT(client.ReadUntil("0\r\n\r\n"), HasSubstr("first"));
  EXPECT_THAT(client.ReadUntil("0\r\n\r\n"), HasSubstr("second"));
  EXPECT_TRUE(client.IsEnded());
}

TEST_F(HttpTlsTest, AClientThatDisconnectsIsNoticedSoon) {
  std::atomic<int> gone{0};
  std::mutex mutex;
  std::vector<ExchangePtr> held;
  const auto server = Serve(
      [&](const HttpRequest&, const ExchangePtr& exchange) {
        exchange->OnGone([&] { ++gone; });
        exchange->Start(200, {});
        exchange->Write("begun");
        const std::lock_guard lock(mutex);
        held.push_back(exchange);
      },
      options_);
  TlsClient client(server->port());
  client.Send(Get("/"));
  client.ReadUntil("begun");
  EXPECT_EQ(gone, 0);
  client.client().Close();
  EXPECT_TRUE(Eventually([&] { return gone == 1; }, 2));
}

TEST_F(HttpTlsTest, WhoDoesNotSpeakTlsIsCutOff) {
  options_.header_timeout_s = 0.2;
  const auto server = Serve(Echo, options_);
  Client plain = Client::Tcp(server->port());
  plain.Send(Get("/"));
  EXPECT_TRUE(plain.IsClosed());
  Client silent = Client::Tcp(server->port());
  EXPECT_TRUE(silent.IsClosed());
  EXPECT_TRUE(Eventually([&] { return server->stats().connections == 0; }));
}

TEST_F(HttpTlsTest, ShutsDown) {
  const auto server = Serve(Echo, options_);
  TlsClient client(server->port());
  client.Send(Get("/"));
  client.ReadUntil("GET\n/\n\n");
  Client half = Client::Tcp(server->port());
  half.Send("\x16\x03\x01");
  server->Shutdown(5);
  EXPECT_EQ(server->stats().connections, 0);
}

TEST_F(HttpTlsTest, FilesThatAreNoCertificatesAreErrors) {
  const auto error = [&](const std::string& cert, const std::string& key) {
    HttpOptions options;
    options.port = 0;
    options.tls_cert = cert;
    options.tls_key = key;
    const auto server = HttpServer::Listen(options, Echo);
    return server.ok() ? "" : server.error().message;
  };
  EXPECT_THAT(error(folder_ / "absent", options_.tls_key), HasSubstr("absent: "));
  EXPECT_THAT(error(options_.tls_cert, options_.tls_cert), HasSubstr("no key"));
  EXPECT_THAT(error(options_.tls_cert, ""), HasSubstr("one of them"));
}

}  // namespace
}  // namespace fathom::http_tests
