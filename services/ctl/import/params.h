/* What litellm_params and model_info say beside the target: times, parameters, prices,
 * capabilities. */
#ifndef SERVICES_CTL_IMPORT_PARAMS_H
#define SERVICES_CTL_IMPORT_PARAMS_H

#include "services/ctl/import/import.h"

/* What becomes of each member of a deployment that is not its target; `carried`: it has one. */
void params_report(struct import *im, const struct deployment *d, const struct import_model *m,
                   bool carried);
/* Of a model: the first value among its deployments. */
void params_write(struct import *im, const struct import_model *m, size_t parent);

#endif
