#include "model/pages.h"
