#include "cache/disk_store.h"
