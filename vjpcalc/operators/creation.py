"""Constants that an expression makes."""

from vjpcalc.operators.operator import creation, family

family("Creation")
creation("zeros(*shape: shape)", numpy="zeros(shape)", size="shape")
creation("ones(*shape: shape)", numpy="ones(shape)", size="shape")
creation("randn(*shape: shape)", numpy="random.standard_normal(shape)", size="shape")
