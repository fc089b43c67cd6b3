from django.urls import path

from apps.monitoring import views

app_name = "monitoring"
urlpatterns = [
    path("databases/", views.databases, name="databases"),
    path("healthz", views.healthz, name="healthz"),
    path("readyz", views.readyz, name="readyz"),
]
