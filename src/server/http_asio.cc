// Asio itself, compiled here and nowhere else (BOOST_ASIO_SEPARATE_COMPILATION).
#include "server/http_connection.h"

#include <boost/asio/impl/src.hpp>
#include <boost/asio/ssl/impl/src.hpp>
