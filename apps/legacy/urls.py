from django.urls import path

from apps.legacy import views

app_name = "legacy"
urlpatterns = [
    path("", views.customer_list, name="list"),
    path("export.csv", views.export, name="export"),
    path("<int:customer_id>/", views.customer, name="customer"),
]
