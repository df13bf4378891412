#include "services/ctl/import/import.h"

enum err import_write(struct import *im, struct buf *out, struct buf *errors_out)
{
    const struct import_place none = {im->files[0].path, 0, ""};
    (void)draft_add(&im->draft, 0, none,
                    "# Made by `tollgate import litellm`. Its report says what was carried.");
    enum err e = models_read(im);
    if (e)
        return e;
    settings_write(im);
    providers_write(im);
    models_write(im);
    return draft_settle(&im->draft, &im->report, out, errors_out);
}
